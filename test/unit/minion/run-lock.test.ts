import { mkdtempSync, rmSync } from "node:fs";
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
