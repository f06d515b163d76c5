const FIRST_MS = 100;
const CAP_MS = 10_000;

/**
 * How long to wait before the next try, after `failures` rounds without success: doubling from 100 ms, at most 10 s, of
 * which `random` (0 to below 1) takes off up to a half, so that a thousand minions do not knock at once.
 */
export function backoffMs(failures: number, random: number): number {
  const full = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(failures, 20));
  return Math.round(full * (1 - random / 2));
}

const PATIENT_AFTER_MS = 10 * 60_000;

/** How long a minion that is not accepted yet waits before it asks again: under 1.8 s, after ten minutes under 10 s. */
export function acceptancePollMs(waitedMs: number, random: number): number {
  return Math.round(waitedMs < PATIENT_AFTER_MS ? 1200 + random * 500 : 6000 + random * 4000);
}
