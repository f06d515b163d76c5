/**
 * The secret's name that a minion leases to try out the way of a key: 32 fresh random bytes that open nothing and are kept
 * nowhere. Reserved: a pillar's value at this path is never released.
 */
export const CANARY_PATH = "leakcheck:canary";
export const CANARY_BYTES = 32;
