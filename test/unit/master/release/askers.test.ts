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

test("who pushed a job while the host's boot was not known counts for whatever boot comes", async () => {
  const clock = new HandClock();
  const heard = { boot: "" };
  const store = new MemoryStore(clock);
  const askers = await Askers.load({ store, now: () => clock.time, bootOf: () => heard.boot, report: () => {} });
  askers.pushed({ jid: "1", fun: "state.highstate", ids: ["web1"] }, "ann").apply();
  askers.seen("web1", "A", clock.time);
  expect(askers.find("web1", "A", clock.time)).toEqual(["ann"]);
  askers.seen("web1", "B", clock.time);
  expect(askers.find("web1", "B", clock.time)).toEqual(["ann"]);
  heard.boot = "B";
  askers.pushed({ jid: "2", fun: "state.highstate", ids: ["web2"] }, "bob").apply();
  askers.seen("web2", "C", clock.time);
  // a host that keeps its boot to itself may be in the one that the job caused
  expect(askers.find("web2", "", clock.time)).toEqual(["bob"]);
  expect(askers.find("web2", "D", clock.time)).toEqual([]);
});
