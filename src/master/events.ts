import { type Clock, systemClock } from "../core/clock.ts";
import type { ControlEvent } from "../core/control-api.ts";
import type { JsonObject } from "../core/json.ts";
import { TokenBuckets } from "../core/token-buckets.ts";

/** Events a subscriber may lag behind before the oldest are dropped (it is told how many). */
const MAX_BEHIND = 2000;
/** Events of one kind of one host (first and last word of the tag): so many at once, then so many a second. */
const BURST = 200;
const A_SECOND = 10;
/** Events of jobs come from operators alone. */
const OPERATORS = "job/";

/**
 * What happens at the master, for whoever watches. Tags that speak of a minion end in its proven id; minions themselves
 * cannot emit anything here. Data is plain and never key material.
 */
export class EventBus {
  readonly #subscribers = new Set<(event: ControlEvent) => void>();
  readonly #clock: Clock;
  readonly #buckets: TokenBuckets;
  readonly #heldBack = new Map<string, number>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    this.#buckets = new TokenBuckets(BURST, A_SECOND, clock);
  }

  emit(tag: string, data: JsonObject = {}): void {
    if (this.#subscribers.size === 0) return;
    if (!tag.startsWith(OPERATORS)) {
      const kind = `${tag.slice(0, tag.indexOf("/"))}/${tag.slice(tag.lastIndexOf("/") + 1)}`;
      if (!this.#buckets.take(kind)) {
        if (this.#heldBack.has(kind) || this.#heldBack.size < MAX_BEHIND)
          this.#heldBack.set(kind, (this.#heldBack.get(kind) ?? 0) + 1);
        return;
      }
      const count = this.#heldBack.get(kind);
      this.#heldBack.delete(kind);
      if (count !== undefined) this.#tell("events/held-back", { of: kind, count });
    }
    this.#tell(tag, data);
  }

  #tell(tag: string, data: JsonObject): void {
    const event: ControlEvent = { at: this.#clock.now(), tag, data };
    for (const subscriber of this.#subscribers) subscriber(event);
  }

  /** Events from now on, until `signal` aborts. A slow reader loses the oldest and gets an `events/dropped` in place. */
  async *follow(signal: AbortSignal): AsyncGenerator<ControlEvent, void, undefined> {
    let queue: ControlEvent[] = [];
    let dropped = 0;
    let wake = Promise.withResolvers<void>();
    const subscriber = (event: ControlEvent) => {
      queue.push(event);
      if (queue.length > MAX_BEHIND) {
        queue.shift();
        dropped += 1;
      }
      wake.resolve();
    };
    const stop = () => wake.resolve();
    this.#subscribers.add(subscriber);
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        await wake.promise;
        wake = Promise.withResolvers();
        const events = queue;
        queue = [];
        if (dropped > 0) {
          yield { at: this.#clock.now(), tag: "events/dropped", data: { count: dropped } };
          dropped = 0;
        }
        yield* events;
      }
    } finally {
      this.#subscribers.delete(subscriber);
      signal.removeEventListener("abort", stop);
    }
  }
}
