import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { Logger } from "../../../src/core/log.ts";
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
async function setUp(pillar: JsonObject = {}, clock: Clock = systemClock) {
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
  const machine = { ...fakeMachine(directory, host, { pillar }), clock };
  const { log, random } = machine;
  const link = createLink(connection, clock, random);
  const spool = await openSpool(join(directory, "returns"));
  const courier = new Courier(spool, link, clock, log, stop.signal);
  return { host, machine, link, returns, courier, spool, jobs: new Jobs(machine, link, spool, courier, stop.signal) };
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

const jidOf = (number: number): string => String(20_261_122_160_000_000_000n + BigInt(number));
const never = new AbortController().signal;
const outside = { pid: 1, jid: "0", fun: "state.apply", since: 0 };

test("I7: state runs keep the order of their jobs", async () => {
  const { host, machine, returns, jobs } = await setUp();
  await jobs.recover();
  const release = await machine.lock.acquire(outside, () => {}, never);
  const wanted = [1, 2, 3, 4, 5, 6];
  for (const number of wanted) {
    writeFileSync(join(directory, `run${number}.sls`), `run${number}:\n  cmd.run: []\n`);
    host.on(["/bin/sh", "-c", `run${number}`]);
    jobs.take({ ...ping, jid: jidOf(number), fun: "state.apply", args: [`run${number}`] });
  }
  jobs.take({ ...ping, jid: jidOf(7) });
  await expect.poll(() => returns, WAIT).toMatchObject([{ jid: jidOf(7) }]);
  await release();
  await expect.poll(() => returns, WAIT).toHaveLength(7);
  expect(host.runs.map(({ argv }) => argv.at(-1))).toEqual(wanted.map((number) => `run${number}`));
});

test("a volume is locked at once, whatever waits for the machine's run lock", async () => {
  const luks = { key: "secret:volumes:data:luks:key" };
  // it looks on for a key that a run may have in hand: ten seconds, which pass a hundred times as fast here
  const hurried = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 100 };
  const { machine, returns, jobs } = await setUp({ volumes: { data: { disk: "/dev/vdb", luks } } }, hurried);
  await jobs.recover();
  const release = await machine.lock.acquire(outside, () => {}, never);
  for (let number = 1; number <= 40; number += 1) {
    jobs.take({ ...ping, jid: jidOf(number), fun: "volume.rotate", args: ["data"] });
  }
  await expect.poll(() => jobs.running(), WAIT).toHaveLength(40);
  jobs.take({ ...ping, jid: jidOf(41), fun: "volume.lock", args: ["data"] });
  jobs.take({ ...ping, jid: jidOf(42) });
  await expect.poll(() => returns.length, WAIT).toBe(2);
  for (const jid of [jidOf(41), jidOf(42)])
    expect(returns).toContainEqual(expect.objectContaining({ jid, success: true }));
  stop.abort();
  await release();
});

test("I8: a return that cannot be read for a moment stays, and is sent when it can be", async () => {
  const { machine, returns, spool, link } = await setUp();
  let tried = 0;
  const log = { ...machine.log, error: () => void (tried += 1) } as unknown as Logger;
  const courier = new Courier(spool, link, machine.clock, log, stop.signal);
  const path = join(directory, "returns", `${NEW}.json`);
  const entry = { jid: NEW, fun: "test.ping", success: true, retcode: 0, startedAt: 0, finishedAt: 0 } as const;
  await spool.put({ ...entry, startup: false, data: "kept" });
  renameSync(path, join(directory, "aside"));
  mkdirSync(path);
  courier.begin();
  await expect.poll(() => tried, WAIT).toBeGreaterThan(0);
  expect(spool.waiting()).toEqual([NEW]);
  rmdirSync(path);
  renameSync(join(directory, "aside"), path);
  await expect.poll(() => returns, WAIT).toEqual([{ jid: NEW, success: true, data: "kept" }]);
});
