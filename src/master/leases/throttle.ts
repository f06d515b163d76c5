import type { Clock } from "../../core/clock.ts";

interface Bucket {
  tokens: number;
  at: number;
  suppressed: number;
}

const MAX_BUCKETS = 20_000;

/** Lets each name through `burst` times at once, then once in `everyMs`; counts what it held back. */
export class Throttle {
  readonly #buckets = new Map<string, Bucket>();
  readonly #burst: number;
  readonly #everyMs: number;
  readonly #clock: Clock;

  constructor(burst: number, everyMs: number, clock: Clock) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#clock = clock;
  }

  /** How many were held back since the last that got through, or undefined when this one is held back too. */
  take(name: string): number | undefined {
    const now = this.#clock.monotonicMs();
    const bucket = this.#buckets.get(name) ?? { tokens: this.#burst, at: now, suppressed: 0 };
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (now - bucket.at) / this.#everyMs);
    bucket.at = now;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > MAX_BUCKETS) this.#buckets.delete(this.#buckets.keys().next().value ?? "");
    if (bucket.tokens < 1) {
      bucket.suppressed += 1;
      return undefined;
    }
    bucket.tokens -= 1;
    const { suppressed } = bucket;
    bucket.suppressed = 0;
    return suppressed;
  }
}
