import { setTimeout as delay } from "node:timers/promises";

/** Time as it is passed in: tests bring their own. */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. */
  now(): number;
  /** Milliseconds that only go forward, from an arbitrary start. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The longest that a timer of Node's can wait, 24.8 days: a longer one is over at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    const end = performance.now() + ms;
    for (let left = ms; ; left = end - performance.now()) {
      await delay(Math.min(left, MAX_TIMER_MS), undefined, signal === undefined ? {} : { signal });
      if (left <= MAX_TIMER_MS) return;
    }
  },
};
