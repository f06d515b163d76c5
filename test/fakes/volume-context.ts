import { createLogger } from "../../src/core/log.ts";
import { parseMinionConfig } from "../../src/minion/config.ts";
import type { VolumeContext } from "../../src/minion/volume/runner.ts";
import type { VolumeSpec } from "../../src/states/volume/spec.ts";
import { HandClock } from "../unit/master/fakes.ts";
import { type FakeContext, fakeContext } from "./apply-context.ts";
import type { FakeHost } from "./fake-host.ts";

/** What works on a volume, on a host in memory, without a master; `more` takes the place of what it has. */
export function fakeVolumeContext(
  host: FakeHost,
  volume: VolumeSpec,
  more: Partial<VolumeContext> = {},
): FakeContext & VolumeContext {
  const run = fakeContext(host);
  const settings = { master: "127.0.0.1", id: "host1", state_dir: "/state", run_dir: "/run/latchkey" };
  const config = parseMinionConfig(JSON.stringify(settings), "minion.yaml");
  const context: FakeContext & VolumeContext = {
    ...run,
    volume,
    machine: { clock: new HandClock(), config, log: createLogger("test", "silent"), random: () => 0.5 },
    patience: { waitMs: 5000, signal: run.signal },
    notes: () => run.noted,
    progress: () => {},
    at: () => context,
    assertKeyKept: async () => {},
    forgetKey: async () => "",
    master: () => {
      throw new Error("this test has no master");
    },
    ...more,
  };
  return context;
}
