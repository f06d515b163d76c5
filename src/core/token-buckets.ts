import type { Clock } from "./clock.ts";

interface Bucket {
  tokens: number;
  at: number;
}

const MAX_BUCKETS = 20_000;

/** Lets each name have `burst` at once, then `aSecond` of them a second; who was not heard of for longest is forgotten first. */
export class TokenBuckets {
  readonly #buckets = new Map<string, Bucket>();
  readonly #burst: number;
  readonly #aSecond: number;
  readonly #clock: Pick<Clock, "monotonicMs">;

  constructor(burst: number, aSecond: number, clock: Pick<Clock, "monotonicMs">) {
    this.#burst = burst;
    this.#aSecond = aSecond;
    this.#clock = clock;
  }

  /** Whether there is one more for this name. */
  has(name: string): boolean {
    return this.#filled(name).tokens >= 1;
  }

  /** Takes `count`; false, and nothing is taken, when there are not so many. */
  take(name: string, count = 1): boolean {
    const bucket = this.#filled(name);
    if (bucket.tokens < count) return false;
    bucket.tokens -= count;
    return true;
  }

  #filled(name: string): Bucket {
    const now = this.#clock.monotonicMs();
    const bucket = this.#buckets.get(name) ?? { tokens: this.#burst, at: now };
    bucket.tokens = Math.min(this.#burst, bucket.tokens + ((now - bucket.at) / 1000) * this.#aSecond);
    bucket.at = now;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > MAX_BUCKETS) this.#buckets.delete(this.#buckets.keys().next().value ?? "");
    return bucket;
  }
}
