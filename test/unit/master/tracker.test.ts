import { expect, test } from "vitest";
import type { JobEvent } from "../../../src/core/control-api.ts";
import type { ReturnRecord } from "../../../src/master/jobs/job-record.ts";
import { JobTracker } from "../../../src/master/jobs/tracker.ts";

const timing = { resendMs: 2000, missingMs: 5000, timeoutMs: 3000, heartbeatMs: 10_000 };
const back = (id: string, success = true): ReturnRecord => ({
  jid: "1",
  id,
  fun: "test.ping",
  success,
  retcode: success ? 0 : 1,
  startedAt: 100,
  finishedAt: 150,
  receivedAt: 160,
  startup: false,
  data: true,
});

function track(online: readonly string[], offline: readonly string[] = [], unknown: readonly string[] = []) {
  const events: JobEvent[] = [];
  const tracker = new JobTracker({ jid: "1", online, offline, unknown }, timing, 0, (event) => events.push(event));
  return {
    tracker,
    events,
    words: () => events.map((event) => `${event.event}${"id" in event ? ` ${event.id}` : ""}`),
  };
}
const here = () => true;
const gone = () => false;

test("offline hosts are named at once, and nobody is waited for", () => {
  const { events } = track([], ["a", "b"]);
  expect(events).toEqual([
    { event: "start", jid: "1", targets: ["a", "b"], offline: ["a", "b"] },
    { event: "end", succeeded: 0, failed: 0, missing: 2 },
  ]);
});

test("who is named but not accepted is missing at once, and the others are waited for", () => {
  const { tracker, events } = track(["a"], [], ["typo"]);
  expect(events).toEqual([
    { event: "start", jid: "1", targets: ["a", "typo"], offline: [] },
    { event: "missing", id: "typo", reason: "no accepted minion of that id" },
  ]);
  tracker.returned(back("a"));
  expect(events.at(-1)).toEqual({ event: "end", succeeded: 1, failed: 0, missing: 1 });
});

test("acknowledgement, progress, return, end", () => {
  const { tracker, events, words } = track(["a", "b"]);
  tracker.ack("a", 10);
  tracker.ack("a", 11);
  tracker.progress("b", 20, { done: 1, total: 2, current: "x" });
  tracker.returned(back("a"));
  tracker.returned(back("a"));
  tracker.returned(back("b", false));
  expect(words()).toEqual(["start", "ack a", "ack b", "progress b", "return a", "return b", "end"]);
  expect(events.at(-1)).toEqual({ event: "end", succeeded: 1, failed: 1, missing: 0 });
});

test("without an acknowledgement the envelope goes out once more, then the host is missing", () => {
  const { tracker, events } = track(["a"]);
  expect(tracker.tick(1999, here).resend).toEqual([]);
  expect(tracker.tick(2000, here).resend).toEqual(["a"]);
  expect(tracker.tick(2100, here).resend).toEqual([]);
  expect(tracker.wanted("a")).toBe(true);
  expect(tracker.tick(7000, here).finished).toBe(true);
  expect(events.slice(1)).toEqual([
    { event: "missing", id: "a", reason: "connected, but did not acknowledge the job" },
    { event: "end", succeeded: 0, failed: 0, missing: 1 },
  ]);
});

test("who is named missing is no longer wanted: the job does not run there later", () => {
  const { tracker } = track(["a", "b"]);
  tracker.ack("b", 0);
  tracker.tick(2000, here);
  tracker.tick(7000, here);
  expect(tracker.wanted("a")).toBe(false);
});

test("a host that says it runs the job is waited for, however long", () => {
  const { tracker } = track(["a"]);
  for (let now = 0; now < 600_000; now += 10_000) {
    tracker.running("a", now);
    expect(tracker.tick(now + 9999, here).finished).toBe(false);
  }
  tracker.returned(back("a"));
  expect(tracker.ended).toBe(true);
});

test("a host whose connection broke is given up after the timeout, with the reason", () => {
  const { tracker, events } = track(["a"]);
  tracker.ack("a", 0);
  expect(tracker.tick(2999, gone).finished).toBe(false);
  expect(tracker.tick(3000, gone).finished).toBe(true);
  expect(events[2]).toMatchObject({ event: "missing", reason: expect.stringContaining("connection lost") });
});

test("a host that no longer lists the job and sends no return is given up after two heartbeats", () => {
  const { tracker } = track(["a"]);
  tracker.ack("a", 0);
  expect(tracker.tick(20_999, here).finished).toBe(false);
  expect(tracker.tick(21_000, here).finished).toBe(true);
});

test("strangers change nothing", () => {
  const { tracker, words } = track(["a"]);
  tracker.ack("x", 1);
  tracker.progress("x", 1, { done: 1, total: 1, current: "" });
  tracker.returned(back("x"));
  expect(words()).toEqual(["start"]);
});

test("when the master stops, whoever waits is told", () => {
  const { tracker, words } = track(["a"]);
  tracker.abandon("the master stops");
  expect(words()).toEqual(["start", "missing a", "end"]);
});
