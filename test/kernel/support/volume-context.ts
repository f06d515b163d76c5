import { mkdirSync } from "node:fs";
import { createLogger } from "../../../src/core/log.ts";
import { systemClock } from "../../../src/core/clock.ts";
import type { Json } from "../../../src/core/json.ts";
import type { MasterSide } from "../../../src/minion/backing.ts";
import { parseMinionConfig } from "../../../src/minion/config.ts";
import type { VolumeContext } from "../../../src/minion/volume/runner.ts";
import { readVolumes, type VolumeSpec } from "../../../src/states/volume/spec.ts";
import type { StateRun } from "./state-run.ts";

/** The one volume that this section of a pillar declares. */
export function volumeOf(name: string, section: Readonly<Record<string, Json>>): VolumeSpec {
  const [volume] = readVolumes({ volumes: { [name]: section } });
  if (volume === undefined) throw new Error("no volume");
  return volume;
}

/** The master of a test: a session with it, and its leases in place of the test's own keys. */
export interface TestMasterSide {
  readonly master: MasterSide;
  readonly lease?: VolumeContext["lease"];
}

/** What works on a volume, on the real host, with the keys of a StateRun; `directory` is the minion's disk. */
export function volumeContext(
  run: StateRun,
  volume: VolumeSpec,
  directory: string,
  side?: TestMasterSide,
): VolumeContext {
  const runDir = process.getuid?.() === 0 ? "/run/latchkey-test" : `${directory}/run`;
  mkdirSync(runDir, { recursive: true });
  const settings = { master: "127.0.0.1", id: "host1", state_dir: `${directory}/state`, run_dir: runDir };
  const config = parseMinionConfig(JSON.stringify(settings), "minion.yaml");
  const context: VolumeContext = {
    ...run.context,
    ...(side?.lease === undefined ? {} : { lease: side.lease }),
    volume,
    machine: { clock: systemClock, config, log: createLogger("test", "silent"), random: Math.random },
    patience: { waitMs: 5000, signal: run.context.signal },
    notes: () => run.notes,
    progress: () => {},
    at: () => context,
    assertKeyKept: async () => {},
    forgetKey: async () => "",
    master: () => {
      if (side === undefined) throw new Error("this test has no master");
      return side.master;
    },
  };
  return context;
}
