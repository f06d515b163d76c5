import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { Courier } from "../../../src/minion/courier.ts";
import { Jobs } from "../../../src/minion/jobs.ts";
import { createLink } from "../../../src/minion/link.ts";
import { openSpool } from "../../../src/minion/spool.ts";
import type { Job } from "../../../src/wire/messages.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
import { fakeMachine } from "./machine.ts";

const CUT_SHORT = "20261122160000000001";
const NEW = "20261122160000000002";
const WAIT = { timeout: 4000, interval: 5 };

let directory: string;
let stop: AbortController;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-jobs-"));
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(directory, { recursive: true, force: true });
});

/** A minion's jobs before `recover`, on a session that stands already; `returns` are those that the master has. */
async function setUp() {
  const host = new FakeHost();
  const returns: unknown[] = [];
  const connection = new FakeConnection({
    "job.ack": () => ({}),
    "job.progress": () => ({}),
    return: ({ jid, success, data }) => {
      returns.push({ jid, success, data });
      return {};
    },
  });
  const machine = fakeMachine(directory, host);
  const { clock, log, random } = machine;
  const link = createLink(connection, clock, random);
  const spool = await openSpool(join(directory, "returns"));
  const courier = new Courier(spool, link, clock, log, stop.signal);
  return { returns, courier, spool, jobs: new Jobs(machine, link, spool, courier, stop.signal) };
}

const ping: Job = {
  jid: NEW,
  seq: 2,
  issuedAt: 0,
  fun: "test.ping",
  args: [],
  kwargs: {},
  target: { kind: "all" },
};
const cutShort = {
  jid: CUT_SHORT,
  success: false,
  data: expect.stringContaining("ended while this job ran") as string,
};

function leaveNote(): void {
  mkdirSync(join(directory, "jobs"));
  writeFileSync(join(directory, "jobs", `${CUT_SHORT}.json`), JSON.stringify({ fun: "cmd.run", since: 1 }));
}

test("I8: the return of a job cut short is sent also when the session stood before it was on disk", async () => {
  leaveNote();
  const { returns, courier, jobs } = await setUp();
  courier.deliver();
  await jobs.recover();
  await expect.poll(() => returns, WAIT).toEqual([cutShort]);
  expect(readdirSync(join(directory, "jobs"))).toEqual([]);
});

test("I8: a return that was only begun on disk when the minion was killed is replaced, not dropped", async () => {
  leaveNote();
  mkdirSync(join(directory, "returns"));
  writeFileSync(join(directory, "returns", `${CUT_SHORT}.json`), "");
  const { returns, courier, jobs } = await setUp();
  courier.deliver();
  await jobs.recover();
  await expect.poll(() => returns, WAIT).toEqual([cutShort]);
  await expect.poll(() => readdirSync(join(directory, "returns")), WAIT).toEqual([]);
});

test("I7: a job that comes while the minion still looks for what was cut short runs after that, once", async () => {
  leaveNote();
  const { returns, jobs } = await setUp();
  jobs.take(ping);
  await jobs.recover();
  await expect.poll(() => returns, WAIT).toEqual([cutShort, { jid: NEW, success: true, data: true }]);
  await jobs.idle(systemClock, AbortSignal.timeout(4000));
  expect(readdirSync(join(directory, "jobs"))).toEqual([]);
});

test("I8: on a full disk a job runs all the same, and its return goes out of memory", async () => {
  const { returns, courier, spool, jobs } = await setUp();
  await jobs.recover();
  for (const name of ["jobs", "returns"]) {
    rmSync(join(directory, name), { recursive: true });
    // nothing can be made below it, as on a disk without room
    writeFileSync(join(directory, name), "");
  }
  jobs.take(ping);
  await expect.poll(() => returns, WAIT).toEqual([{ jid: NEW, success: true, data: true }]);
  await expect.poll(() => spool.waiting(), WAIT).toEqual([]);
  const entry = { jid: CUT_SHORT, fun: "test.ping", success: true, retcode: 0, startedAt: 0, finishedAt: 0 } as const;
  expect(await courier.keep({ ...entry, startup: false, data: true })).toBe(false);
  await expect.poll(() => returns.length, WAIT).toBe(2);
  const huge = { ...entry, startup: false, data: "x".repeat(33 * 1024 * 1024) };
  await expect(spool.put(huge)).rejects.toThrow("ENOTDIR");
});
