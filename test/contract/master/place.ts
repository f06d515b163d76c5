import { afterEach, beforeEach } from "vitest";
import type { MasterConfig } from "../../../src/master/config.ts";
import type { MasterOverrides } from "../../../src/master/daemon.ts";
import { type MinionSetup, startMinion, type TestMinion } from "../wire/pair.ts";
import { type Rig, rig, scratch } from "./rig.ts";

/** Where the tests of one file run: a new directory for each, and what each started is ended after it, the last first. */
export interface Place {
  readonly directory: string;
  /** Ends something with the test. */
  atEnd(end: () => Promise<unknown>): void;
  /** A master in the directory, which accepts every minion. */
  start(overrides: MasterOverrides, more?: Partial<MasterConfig>): Promise<Rig>;
  /** A minion with a session. */
  connect(ports: Parameters<typeof startMinion>[0], setup: MinionSetup): Promise<TestMinion>;
}

/** Sets the hooks of the file that calls it. */
export function usePlace(): Place {
  let current: ReturnType<typeof scratch> = { directory: "", remove: () => {} };
  let ending: (() => Promise<unknown>)[] = [];
  beforeEach(() => {
    current = scratch();
    ending = [];
  });
  afterEach(async () => {
    for (const end of ending.toReversed()) await end();
    current.remove();
  });
  return {
    get directory() {
      return current.directory;
    },
    atEnd: (end) => {
      ending.push(end);
    },
    start: async (overrides, more = {}) => {
      const one = await rig(current.directory, overrides, { auto_accept: true, ...more });
      ending.push(async () => one.stop());
      return one;
    },
    connect: async (ports, setup) => {
      const minion = startMinion(ports, setup);
      ending.push(async () => minion.connection.close());
      await minion.connection.ready(AbortSignal.timeout(60_000));
      return minion;
    },
  };
}
