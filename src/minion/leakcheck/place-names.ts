/** Where a canary is hunted, in this order: first what changes soonest. */
export const PLACES = ["memory", "processes", "spool", "state", "own-log", "temp", "logs", "swap"] as const;
export type Place = (typeof PLACES)[number];
