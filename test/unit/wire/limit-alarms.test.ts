import { expect, test } from "vitest";
import { LimitAlarms, type LimitHit } from "../../../src/wire/limit-alarms.ts";

function setUp() {
  let now = 1000;
  const told: LimitHit[] = [];
  const alarms = new LimitAlarms({ monotonicMs: () => now }, (hit) => told.push(hit));
  const pass = (ms: number) => {
    now += ms;
    alarms.expire();
  };
  return { alarms, told, pass };
}

test("a limit is told of when it is hit, then once a minute with all that came meanwhile and who did most", () => {
  const { alarms, told, pass } = setUp();
  alarms.hit("turned-away", "192.0.2.1");
  expect(told).toEqual([{ limit: "turned-away", count: 1, address: "192.0.2.1" }]);
  for (let n = 0; n < 5000; n += 1) alarms.hit("turned-away", n % 3 === 0 ? "192.0.2.9" : `198.51.100.${n % 250}`);
  alarms.hit("too-slow", "192.0.2.2");
  expect(told).toHaveLength(2);
  pass(59_999);
  expect(told).toHaveLength(2);
  pass(1);
  expect(told.slice(2)).toEqual([{ limit: "turned-away", count: 5000, address: "192.0.2.9" }]);
  pass(600_000);
  expect(told).toHaveLength(3);
});

test("who did most is found among more addresses than are counted", () => {
  const { alarms, told, pass } = setUp();
  alarms.hit("turned-away", "");
  for (let n = 0; n < 100_000; n += 1) alarms.hit("turned-away", n % 4 === 0 ? "192.0.2.9" : `2001:db8::${n}`);
  pass(60_000);
  expect(told.at(-1)).toEqual({ limit: "turned-away", count: 100_000, address: "192.0.2.9" });
});
