import type { Clock } from "../../core/clock.ts";
import { HostError } from "../../core/errors.ts";
import { formatDuration } from "../../core/units.ts";

/** How long work may go on after its signal fired before it is left behind. */
const GRACE_MS = 10_000;

const LATER = Symbol("later");

/** What the work comes to when it needs no turn of the event loop, else LATER: most checks need no timer at all. */
async function soon<T>(work: Promise<T>): Promise<T | typeof LATER> {
  let immediate: NodeJS.Immediate | undefined;
  const turn = new Promise<typeof LATER>((resolve) => {
    immediate = setImmediate(resolve, LATER);
  });
  try {
    return await Promise.race([work, turn]);
  } finally {
    clearImmediate(immediate);
  }
}

/** Rejects with the signal's reason some time after it fired. */
function abandoned(clock: Clock, fired: AbortSignal, timers: AbortSignal): Promise<never> {
  return new Promise<never>((_resolve, reject) => {
    const leave = () => {
      clock.sleep(GRACE_MS, timers).then(
        () => reject(fired.reason as Error),
        () => {},
      );
    };
    if (fired.aborted) leave();
    else fired.addEventListener("abort", leave, { once: true });
  });
}

/**
 * Runs `work` with a signal that fires when `signal` does or `timeoutMs` passes (Infinity for never). Work that does not
 * end within ten seconds of that is left behind. Throws HostError `state-timeout`, or the signal's reason.
 */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const inner = new AbortController();
  const pass = () => inner.abort(signal.reason);
  signal.addEventListener("abort", pass, { once: true });
  const timers = new AbortController();
  try {
    const working = work(inner.signal);
    const quick = await soon(working);
    if (quick !== LATER) return quick;
    if (Number.isFinite(timeoutMs)) {
      clock.sleep(timeoutMs, timers.signal).then(
        () => inner.abort(new HostError("state-timeout", `cannot finish: not done after ${formatDuration(timeoutMs)}`)),
        () => {},
      );
    }
    return await Promise.race([working, abandoned(clock, inner.signal, timers.signal)]);
  } finally {
    timers.abort();
    signal.removeEventListener("abort", pass);
  }
}
