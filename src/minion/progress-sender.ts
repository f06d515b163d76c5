import type { Clock } from "../core/clock.ts";
import { LatchkeyError } from "../core/errors.ts";
import type { MasterConnection } from "../wire/endpoints.ts";

/** How far a state run is. */
export interface RunProgress {
  readonly done: number;
  readonly total: number;
  /** The state that runs now, or what the run waits for. */
  readonly current: string;
}

const LEAST_INTERVAL_MS = 200;

/**
 * Tells the master how far a job is: at most one message on its way and five a second, the newest wins, what gets lost
 * is lost.
 */
export function createProgressSender(
  connection: MasterConnection,
  clock: Clock,
  jid: string,
): (progress: RunProgress) => void {
  let sentAt = Number.NEGATIVE_INFINITY;
  let busy = false;
  return (progress) => {
    const now = clock.monotonicMs();
    if (busy || now - sentAt < LEAST_INTERVAL_MS || connection.state.kind !== "connected") return;
    sentAt = now;
    busy = true;
    const body = { jid, ...progress, current: progress.current.slice(0, 1000) };
    connection
      .request("job.progress", body)
      .catch((error: unknown) => {
        if (!(error instanceof LatchkeyError)) throw error;
      })
      .finally(() => {
        busy = false;
      });
  };
}
