import { beforeEach, expect, test } from "vitest";
import { createLogger } from "../../../src/core/log.ts";
import { pacedLog, type PacedLog } from "../../../src/core/paced-log.ts";
import { HandClock } from "../master/fakes.ts";

let clock: HandClock;
let lines: Record<string, unknown>[];
let log: PacedLog;
beforeEach(() => {
  clock = new HandClock();
  lines = [];
  const write = (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>);
  log = pacedLog(createLogger("master", "info", { write }), { clock, isHost: (id) => id.startsWith("web") });
});
const said = (msg: string) => lines.filter((line) => line["msg"] === msg);

test("thousands of lines of one host become twenty and their number; other hosts and kinds are told in full", () => {
  for (let n = 0; n < 5000; n += 1) log.warn({ id: "web1", n }, "lease denied");
  log.warn({ id: "web2" }, "lease denied");
  log.info({ id: "web1" }, "key accepted");
  expect(said("lease denied").map(({ id }) => id)).toEqual([...Array<string>(20).fill("web1"), "web2"]);
  expect(said("key accepted")).toHaveLength(1);
  log.sweep();
  expect(said("log lines of one kind were left out")).toEqual([]);
  clock.time += 60_000;
  log.sweep();
  expect(said("log lines of one kind were left out")).toMatchObject([{ id: "web1", of: "lease denied", held: 4980 }]);
  log.warn({ id: "web1" }, "lease denied");
  expect(said("lease denied")).toHaveLength(22);
});

test("a number that was held back is told before the first line of the next minute", () => {
  for (let n = 0; n < 25; n += 1) log.error({ id: "web1" }, "x");
  clock.time += 60_000;
  log.error({ id: "web1" }, "x");
  expect(lines.slice(20)).toMatchObject([
    { held: 5, of: "x", id: "web1", level: 40 },
    { msg: "x", level: 50 },
  ]);
});

test("whoever is no host shares the lines of all who are none, whatever ids they invent", () => {
  for (let n = 0; n < 3000; n += 1) log.warn({ id: `bot${n}` }, "key denied: another key holds the id");
  log.info("stopping");
  expect(lines).toHaveLength(201);
  clock.time += 60_000;
  log.sweep();
  expect(lines.at(-1)).toMatchObject({ held: 2800 });
  expect(lines.at(-1)).not.toHaveProperty("id");
});

test("what it remembers is bounded, and what is forgotten is told", () => {
  for (let n = 0; n < 21; n += 1) log.warn({ id: "web" }, "a");
  for (let n = 0; n < 10_001; n += 1) log.debug({ id: `web${n}` }, "b");
  expect(said("log lines of one kind were left out")).toMatchObject([{ id: "web", held: 1 }]);
});

test("an error that is the whole line is a kind like any other", () => {
  for (let n = 0; n < 250; n += 1) log.error(new Error("boom"));
  expect(lines).toHaveLength(200);
});
