import { type Clock, systemClock } from "../../../src/core/clock.ts";

/** Seconds that pass when the test says so; for who sleeps them away one by one. */
export class TickClock implements Clock {
  #seconds = 0;
  #sleeper: PromiseWithResolvers<void> | undefined;

  now(): number {
    return this.#seconds * 1000;
  }

  monotonicMs(): number {
    return this.#seconds * 1000;
  }

  /** A second, or less in real time: the moment in which farewells leave. */
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms < 1000) return systemClock.sleep(ms, signal);
    const sleeper = Promise.withResolvers<void>();
    this.#sleeper = sleeper;
    signal?.addEventListener("abort", () => {
      sleeper.reject(signal.reason);
    });
    return sleeper.promise;
  }

  /** Lets seconds pass; between two of them `meanwhile` is awaited. */
  async pass(seconds: number, meanwhile?: () => Promise<void>): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.#seconds += 1;
      this.#sleeper?.resolve();
      // the sleeper goes on, and sleeps again
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
      await meanwhile?.();
    }
  }
}
