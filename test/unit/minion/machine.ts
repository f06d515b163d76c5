import { systemClock } from "../../../src/core/clock.ts";
import type { Host } from "../../../src/core/host.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { createLogger } from "../../../src/core/log.ts";
import { localBacking } from "../../../src/minion/backing.ts";
import { parseMinionConfig } from "../../../src/minion/config.ts";
import { openJournal } from "../../../src/minion/journal.ts";
import type { Machine } from "../../../src/minion/machine.ts";
import { RunLock } from "../../../src/minion/run-lock.ts";
import { VolumesTarget } from "../../../src/minion/volumes-target.ts";

const METHODS = [
  "run",
  "readFile",
  "readRange",
  "writeFile",
  "stat",
  "lstat",
  "readLink",
  "realPath",
  "readDirectory",
  "makeDirectory",
  "hold",
  "holdPath",
  "remove",
  "space",
] as const satisfies readonly (keyof Host)[];

/** The host as an object without a class, as the real one is: so it can be spread, and methods replaced. */
export function plainHost(host: Host): Host {
  return Object.fromEntries(METHODS.map((name) => [name, host[name].bind(host)])) as unknown as Host;
}

/** A minion's machine on a fake host: what it keeps and its lock are real, in `directory`; `run_dir` is the host's. */
export function fakeMachine(
  directory: string,
  host: Host,
  {
    settings = {},
    pillar = {},
    states = directory,
  }: {
    readonly settings?: JsonObject;
    readonly pillar?: JsonObject;
    readonly states?: string;
  } = {},
): Machine {
  const text = JSON.stringify({ id: "web1", state_dir: directory, run_dir: "/run/latchkey", ...settings });
  const config = parseMinionConfig(text, "minion.yaml");
  const log = createLogger("test", "silent");
  return {
    config,
    host: plainHost(host),
    log,
    clock: systemClock,
    random: () => 0,
    grains: {},
    backing: localBacking({ fileRoots: [states], pillar: async () => pillar }),
    journal: openJournal(host, "/journal"),
    lock: new RunLock(directory, systemClock),
    target: new VolumesTarget(config.runDir, host, log),
  };
}
