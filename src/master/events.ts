import { type Clock, systemClock } from "../core/clock.ts";
import type { ControlEvent } from "../core/control-api.ts";
import type { JsonObject } from "../core/json.ts";

/** Events a subscriber may lag behind before the oldest are dropped (it is told how many). */
const MAX_BEHIND = 2000;

/**
 * What happens at the master, for whoever watches. Tags that speak of a minion end in its proven id; minions themselves
 * cannot emit anything here. Data is plain and never key material.
 */
export class EventBus {
  readonly #subscribers = new Set<(event: ControlEvent) => void>();
  readonly #clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  emit(tag: string, data: JsonObject = {}): void {
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
