import { expect, test } from "vitest";
import { acceptancePollMs, backoffMs } from "../../../src/wire/backoff.ts";

test("retries start at once and double up to ten seconds, with jitter that only shortens", () => {
  expect([0, 1, 2, 6, 7, 1000].map((failures) => backoffMs(failures, 0))).toEqual([
    100, 200, 400, 6400, 10_000, 10_000,
  ]);
  expect(backoffMs(0, 0.999)).toBe(50);
});

test("acceptance is asked for every two seconds at most, later more seldom", () => {
  expect(acceptancePollMs(0, 0.999)).toBeLessThan(1800);
  expect(acceptancePollMs(3_600_000, 0)).toBe(6000);
});
