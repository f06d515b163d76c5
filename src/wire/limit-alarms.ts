import type { Clock } from "../core/clock.ts";

/** A limit that was hit, once or many times. */
export interface LimitHit {
  readonly limit: string;
  /** Times since the last one that was told of. */
  readonly count: number;
  /** Who did most of it, "" when unknown. */
  readonly address: string;
}

/** Told of once a minute at most, each limit by itself. */
const QUIET_MS = 60_000;
/** Addresses that are counted between two of them; from then on a newcomer takes one off each of the others (Misra and Gries). */
const MOST_ADDRESSES = 256;

interface Tally {
  toldAt: number;
  count: number;
  readonly addresses: Map<string, number>;
}

/** Tells of limits that are hit: at once, then no more than once a minute, with what came together meanwhile. */
export class LimitAlarms {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #tell: (hit: LimitHit) => void;
  readonly #tallies = new Map<string, Tally>();

  constructor(clock: Pick<Clock, "monotonicMs">, tell: (hit: LimitHit) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** A limit was hit by somebody at this address. There is a fixed list of limits, and any number of addresses. */
  hit(limit: string, address: string): void {
    const tally = this.#tallies.get(limit) ?? { toldAt: -Infinity, count: 0, addresses: new Map<string, number>() };
    this.#tallies.set(limit, tally);
    tally.count += 1;
    count(tally.addresses, address);
    this.#tellOf(limit, tally);
  }

  /** To be called once in a while: tells of what was hit and not told of yet. */
  expire(): void {
    for (const [limit, tally] of this.#tallies) if (tally.count > 0) this.#tellOf(limit, tally);
  }

  #tellOf(limit: string, tally: Tally): void {
    const now = this.#clock.monotonicMs();
    if (now - tally.toldAt < QUIET_MS) return;
    const [most] = [...tally.addresses].toSorted(([, a], [, b]) => b - a);
    this.#tell({ limit, count: tally.count, address: most?.[0] ?? "" });
    tally.toldAt = now;
    tally.count = 0;
    tally.addresses.clear();
  }
}

function count(addresses: Map<string, number>, address: string): void {
  const before = addresses.get(address);
  if (before !== undefined || addresses.size < MOST_ADDRESSES) {
    addresses.set(address, (before ?? 0) + 1);
    return;
  }
  for (const [other, times] of addresses) {
    if (times > 1) addresses.set(other, times - 1);
    else addresses.delete(other);
  }
}
