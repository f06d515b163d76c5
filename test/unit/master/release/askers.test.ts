import { expect, test } from "vitest";
import { Askers } from "../../../../src/master/release/askers.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { HandClock } from "../fakes.ts";

const DAY_MS = 86_400_000;

test("pushes that are over are forgotten, also of hosts that never ask and of jobs that never return", async () => {
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const askers = await Askers.load({ store, now: () => clock.time, bootOf: () => "b", report: () => {} });
  const push = (jid: string) => {
    const ids = Array.from({ length: 100 }, (_, n) => `web${n}-${jid}`);
    askers.pushed({ jid, fun: "state.highstate", ids }, "ann").apply();
  };
  for (let day = 0; day < 50; day += 1) {
    push(String(day));
    expect(askers.find(`web7-${day}`, "b", clock.time)).toEqual(["ann"]);
    clock.time += DAY_MS;
  }
  expect(askers.size).toBeLessThanOrEqual(100);
});
