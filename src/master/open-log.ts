import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { pacedLog } from "../core/paced-log.ts";

const SWEEP_MS = 10_000;

/** The master's log, paced by host. */
export interface MasterLog {
  readonly log: Logger;
  /** Says who is a host, once keys are read; until then nobody is. */
  readonly hostsAre: (isHost: (id: string) => boolean) => void;
  /** Ends looking after it; it can be written to all the same. */
  readonly close: () => void;
}

/** Puts the pacing before a log; every room of the master gets this one and no other. */
export function openLog(base: Logger, clock: Clock): MasterLog {
  let known: (id: string) => boolean = () => false;
  const log = pacedLog(base, { clock, isHost: (id) => known(id) });
  const sweeping = setInterval(() => log.sweep(), SWEEP_MS);
  sweeping.unref();
  return {
    log,
    hostsAre: (isHost) => {
      known = isHost;
    },
    close: () => clearInterval(sweeping),
  };
}
