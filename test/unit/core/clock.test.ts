import { expect, test } from "vitest";
import { MAX_TIMER_MS, systemClock } from "../../../src/core/clock.ts";

test.each([MAX_TIMER_MS + 1, 31 * 86_400_000, Number.POSITIVE_INFINITY])(
  "a sleep of %d ms, longer than a timer can wait, is not over at once",
  async (ms) => {
    const stop = new AbortController();
    const long = systemClock.sleep(ms, stop.signal).then(() => "over");
    expect(await Promise.race([long, systemClock.sleep(50).then(() => "asleep")])).toBe("asleep");
    stop.abort();
    await expect(long).rejects.toThrow("aborted");
  },
);
