import { setTimeout as delay } from "node:timers/promises";
import { HostError } from "../../core/errors.ts";

const POLL_MS = 20;

/**
 * Until `condition` holds, looked at every 20 ms (or `pollMs`). Throws HostError `not-in-time` when it does not within `timeoutMs`,
 * and the signal's reason when aborted.
 */
export async function waitFor(
  what: string,
  condition: () => Promise<boolean>,
  {
    timeoutMs,
    signal,
    pollMs = POLL_MS,
  }: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly pollMs?: number },
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new HostError("not-in-time", `cannot see ${what} after ${timeoutMs} ms`);
    await delay(pollMs, undefined, { signal });
  }
}
