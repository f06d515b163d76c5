import { expect, test } from "vitest";
import { EventBus } from "../../../src/master/events.ts";
import { collect, HandClock } from "./fakes.ts";

const settled = async () => new Promise((resolve) => setImmediate(resolve));

test("one host's events push no others out: they are held back beyond what a host has, and their number is told", async () => {
  const clock = new HandClock();
  const bus = new EventBus(clock);
  const watching = collect(bus);
  for (let n = 0; n < 5000; n += 1) bus.emit(`return/${n}/web1`, { id: "web1" });
  bus.emit("return/1/web2", { id: "web2" });
  bus.emit("session/up/web1", { id: "web1" });
  await settled();
  const tags = () => watching.events.map(({ tag }) => tag);
  expect(tags().filter((tag) => tag.endsWith("/web1") && tag.startsWith("return/"))).toHaveLength(200);
  expect(tags()).toContain("return/1/web2");
  expect(tags()).toContain("session/up/web1");
  clock.time += 1000;
  bus.emit("return/5000/web1", { id: "web1" });
  await settled();
  expect(watching.events.slice(-2)).toMatchObject([
    { tag: "events/held-back", data: { of: "return/web1", count: 4800 } },
    { tag: "return/5000/web1" },
  ]);
  watching.end();
});

test("events of jobs are those of operators: all of them are told", async () => {
  const bus = new EventBus(new HandClock());
  const watching = collect(bus);
  for (let n = 0; n < 1000; n += 1) bus.emit(`job/${n}/new`, {});
  await settled();
  expect(watching.events).toHaveLength(1000);
  watching.end();
});
