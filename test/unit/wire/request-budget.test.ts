import { expect, test } from "vitest";
import { PRICES } from "../../../src/wire/prices.ts";
import { RequestBudget } from "../../../src/wire/request-budget.ts";

const MIB = 1024 * 1024;

function open() {
  const clock = { time: 0, monotonicMs: () => clock.time };
  return { clock, budget: new RequestBudget(clock) };
}

test("large messages of one minion are decoded only so often; small ones and those of others always", () => {
  const { clock, budget } = open();
  const large = () => budget.mayDecode("web1", 200_000);
  expect([large(), large(), large()]).toEqual([true, true, false]);
  expect(budget.mayDecode("web1", 50)).toBe(true);
  expect(budget.mayDecode("web2", 200_000)).toBe(true);
  clock.time += 1000;
  expect([budget.mayDecode("web1", 100_000), budget.mayDecode("web1", 51)]).toEqual([true, false]);
  clock.time += 3_600_000;
  expect([large(), large(), large()]).toEqual([true, true, false]);
});

test("what one minion's requests take while they are worked on is bounded, and free when they are done", () => {
  const { budget } = open();
  const done = Array.from({ length: 8 }, () => budget.begin("web1", 8 * MIB, 0));
  expect(done.every((end) => end !== undefined)).toBe(true);
  expect(budget.begin("web1", 1, 0)).toBeUndefined();
  expect(budget.begin("web2", 8 * MIB, 200_000)).toBeDefined();
  done[0]?.();
  expect(budget.begin("web1", 8 * MIB, 1)).toBeUndefined();
  expect(budget.begin("web1", 4 * MIB, 1000)).toBeDefined();
});

test("a minion that used up its time is served again as time goes by, and others meanwhile", () => {
  const { clock, budget } = open();
  const pillar = () => budget.charge("web1", PRICES.pillar, 0);
  let served = 0;
  while (pillar()) served += 1;
  expect(served).toBe(500);
  expect(budget.charge("web2", PRICES.pillar, 0)).toBe(true);
  clock.time += 1000;
  expect(Array.from({ length: 6 }, pillar)).toEqual([true, true, true, true, true, false]);
});

test("returns of one minion are taken some at once, then as fast as their bytes allow; none is too large for ever", () => {
  const { clock, budget } = open();
  const largest = () => budget.charge("web1", PRICES.return, 8 * MIB);
  expect(Array.from({ length: 5 }, largest)).toEqual([true, true, true, true, false]);
  expect(budget.charge("web1", PRICES.lease, 500)).toBe(true);
  clock.time += 64_000;
  expect([largest(), largest()]).toEqual([true, false]);
});
