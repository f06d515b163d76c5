import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { RunLock } from "../../../src/minion/run-lock.ts";

const scratch = mkdtempSync(join(tmpdir(), "latchkey-lock-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const holder = (jid: string) => ({ pid: process.pid, jid, fun: "state.apply", since: 1000 });
const never = new AbortController().signal;

test("the second waits for the first, and hears who that is", async () => {
  const [one, two] = [new RunLock(scratch, systemClock), new RunLock(scratch, systemClock)];
  const order: string[] = [];
  const release = await one.acquire(holder("1"), () => {}, never);
  const waited = Promise.withResolvers<string>();
  const runSecond = async () => {
    const done = await two.acquire(holder("2"), (other) => waited.resolve(other?.jid ?? ""), never);
    order.push("second runs");
    await done();
  };
  const second = runSecond();
  expect(await waited.promise).toBe("1");
  expect(await two.holder()).toEqual(holder("1"));
  order.push("first ends");
  await release();
  await second;
  expect(order).toEqual(["first ends", "second runs"]);
  expect(await one.holder()).toBeUndefined();
});

test("I7: runs of one process keep their order, and each hears whom it came behind", async () => {
  const lock = new RunLock(scratch, systemClock);
  const order: string[] = [];
  const release = await lock.acquire(holder("1"), () => {}, never);
  const stop = new AbortController();
  const run = async (jid: string, signal = never) => {
    const done = await lock.acquire(holder(jid), (other) => order.push(`${jid} behind ${other?.jid}`), signal);
    order.push(jid);
    await done();
  };
  const left = run("left", stop.signal);
  const waiting = ["2", "3", "4"].map(async (jid) => run(jid));
  stop.abort();
  await expect(left).rejects.toThrow("aborted");
  await release();
  await Promise.all(waiting);
  const waited = ["left", "2", "3", "4"].map((jid) => `${jid} behind 1`);
  expect(order).toEqual([...waited, "2", "3", "4"]);
});

test("the queue has an end: one more is refused, and told what runs and what waits", async () => {
  const lock = new RunLock(scratch, systemClock);
  const release = await lock.acquire(holder("1"), () => {}, never);
  const stop = new AbortController();
  const waiting = Array.from({ length: 100 }, async (_, index) =>
    lock.acquire(
      { ...holder(String(index)), fun: index < 60 ? "state.apply" : "volume.rotate" },
      () => {},
      stop.signal,
    ),
  );
  const settled = Promise.allSettled(waiting);
  await expect(lock.acquire(holder("more"), () => {}, never)).rejects.toThrow(
    /^cannot queue state\.apply: state\.apply \(job 1\) as PID \d+ since .* is running, and .*: 60 state\.apply, 40 volume\.rotate$/u,
  );
  stop.abort();
  await settled;
  await release();
});

test("a holder that was killed is not named", async () => {
  const lock = new RunLock(scratch, systemClock);
  writeFileSync(join(scratch, "state-run.json"), JSON.stringify(holder("killed")));
  expect(await lock.holder()).toBeUndefined();
  const release = await lock.acquire(holder("5"), () => {}, never);
  expect(await lock.holder()).toEqual(holder("5"));
  expect(await new RunLock(scratch, systemClock).holder()).toEqual(holder("5"));
  await release();
});

test("a wait ends when it is aborted, and the lock stays free for others", async () => {
  const lock = new RunLock(scratch, systemClock);
  const release = await lock.acquire(holder("1"), () => {}, never);
  const stop = new AbortController();
  const waiting = lock.acquire(holder("2"), () => stop.abort(), stop.signal);
  await expect(waiting).rejects.toThrow("aborted");
  await release();
  await (
    await lock.acquire(holder("3"), () => {}, never)
  )();
});

test("a run goes on where it cannot be written who runs", async () => {
  const directory = mkdtempSync(join(scratch, "full-"));
  mkdirSync(join(directory, "state-run.json"));
  const lock = new RunLock(directory, systemClock);
  const release = await lock.acquire(holder("1"), () => {}, never);
  expect(await lock.holder()).toEqual(holder("1"));
  await release();
  expect(readdirSync(directory)).toEqual(["state-run.lock"]);
});
