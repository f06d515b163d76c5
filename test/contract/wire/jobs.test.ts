import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { signEpoch } from "../../../src/wire/job-epoch.ts";
import { signJob } from "../../../src/wire/job-envelope.ts";
import { closeAll, heartbeat, job, startMaster, startMinion, type TestMaster, until } from "./pair.ts";

afterEach(closeAll);

const seqs = (jobs: readonly { readonly seq: number }[]) => jobs.map(({ seq }) => seq);
const asked = (master: TestMaster) => master.requests.filter(({ method }) => method === "jobs.since");

test("I7: two minions get every job once, in order, each number saved first, and need not ask for any", async () => {
  const master = await startMaster();
  const minions = [startMinion(master.endpoint), startMinion(master.endpoint, { id: "web2" })];
  await Promise.all(minions.map(({ connection }) => connection.ready()));
  for (let seq = 1; seq <= 20; seq += 1) await master.publish(job(seq));
  for (const minion of minions) await heartbeat(minion);
  for (const minion of minions) {
    await until("20 jobs", () => minion.jobs.length === 20);
    expect(seqs(minion.jobs)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    expect(minion.saved).toEqual(seqs(minion.jobs));
  }
  expect(asked(master)).toEqual([]);
});

test("I7: numbers that were meant for others are passed over without a question", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  for (const [seq, after] of [
    [7, 0],
    [500, 7],
    [501, 3],
  ] as const) {
    await master.notify(seq, after);
  }
  await until("all", () => minion.jobs.length === 3);
  expect(seqs(minion.jobs)).toEqual([7, 500, 501]);
  expect(asked(master)).toEqual([]);
});

test("I7: jobs from before the session are fetched, those before a restart of the minion are not run again", async () => {
  const master = await startMaster();
  for (let seq = 1; seq <= 5; seq += 1) await master.publish(job(seq));
  const fresh = startMinion(master.endpoint);
  const restarted = startMinion(master.endpoint, {
    id: "web2",
    positions: new Map([[master.identity.fingerprint, 3]]),
  });
  await until("all", () => fresh.jobs.length === 5 && restarted.jobs.length === 2);
  expect(seqs(restarted.jobs)).toEqual([4, 5]);
  expect(seqs(fresh.jobs)).toEqual([1, 2, 3, 4, 5]);
});

test("I7: a job that was lost with its session comes first on the next one, also when a later one is quicker", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  await master.publish(job(1));
  await until("the first", () => minion.jobs.length === 1);
  // told to nobody: the session was cut under it
  master.kept.push({ seq: 2, envelope: signJob(job(2), master.identity.sign) });
  master.opened[0]?.close();
  await until("a new session", () => master.opened.length === 2);
  await master.publish(job(3));
  await until("both", () => minion.jobs.length === 3);
  expect(seqs(minion.jobs)).toEqual([1, 2, 3]);
});

test("I7: in the wrong order, twice, with one missing: each job runs once, in order", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const sealed = [1, 2, 3, 4].map((seq) => ({ seq, envelope: signJob(job(seq), master.identity.sign) }));
  master.kept.push(...sealed);
  for (const seq of [4, 2, 2, 4, 1]) {
    await master.notify(seq, seq - 1);
  }
  await until("all", () => minion.jobs.length === 4 && (minion.connection.drops()["replayed"] ?? 0) === 4);
  expect(seqs(minion.jobs)).toEqual([1, 2, 3, 4]);
  expect(minion.saved).toEqual([1, 2, 3, 4]);
});

test("I7 lesson: 2022-22936 a job given again, by whatever way, is dropped and counted", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  await master.publish(job(1));
  await until("the job", () => minion.jobs.length === 1);
  await master.notify(1, 0);
  await master.notify(1, 7);
  await until("replays counted", () => minion.connection.drops()["replayed"] === 2);
  expect(minion.jobs).toHaveLength(1);
});

test("I7: each master has a sequence of its own; an old job of one is a replay also after a time with another", async () => {
  const [first, second] = [await startMaster(), await startMaster()];
  const positions = new Map([[first.identity.fingerprint, 500]]);
  const fingerprints = [first.identity.fingerprint, second.identity.fingerprint];
  const minion = startMinion(first.endpoint, { fingerprints, positions, more: [second.endpoint] });
  await minion.connection.ready();
  await first.endpoint.close();
  await until("the other master", () => minion.connection.state.kind === "connected" && second.opened.length > 0);
  await minion.connection.ready();
  await second.publish(job(1));
  await until("the new master's job", () => minion.jobs.length === 1);
  expect(seqs(minion.jobs)).toEqual([1]);
  await second.endpoint.close();
  const back = await startMaster(first.identity, first.endpoint.returnPort);
  await until("the first master again", () => back.opened.length > 0);
  await minion.connection.ready();
  await back.notify(499, 0);
  await until("the replay counted", () => (minion.connection.drops()["replayed"] ?? 0) === 1);
  await back.notify(501, 0);
  await until("its next job", () => minion.jobs.length === 2);
  expect(seqs(minion.jobs)).toEqual([1, 501]);
});

test("I7: an unsigned job or one of another signer is dropped, even inside the session", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const stranger = await startMaster();
  const envelope = await stranger.publish(job(1));
  await master.opened[0]?.notify({ kind: "job", envelope, after: 0, epoch: master.epoch });
  await master.opened[0]?.notify({ kind: "job", envelope: new Uint8Array(10), after: 0, epoch: master.epoch });
  await until("both counted", () => minion.connection.drops()["bad-signature"] === 2);
  expect(minion.jobs).toHaveLength(0);
});

test("a minion whose clock is wrong takes jobs all the same: the session says that they are of now", async () => {
  const master = await startMaster();
  const clock = { ...systemClock, now: () => systemClock.now() - 86_400_000 };
  const minion = startMinion(master.endpoint, { clock });
  await minion.connection.ready();
  await master.publish(job(1));
  await until("the job", () => minion.jobs.length === 1);
  expect(asked(master)).toEqual([]);
});

test("I7: where the master's answer has no job for a number, the minion goes past it, and never back", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  master.kept.push({ seq: 7, envelope: signJob(job(7), master.identity.sign) });
  await master.notify(7, 6);
  await until("the job", () => minion.jobs.length === 1);
  await master.notify(3, 0);
  await master.publish(job(8));
  await until("the next", () => minion.jobs.length === 2);
  expect(seqs(minion.jobs)).toEqual([7, 8]);
});

test("a master's epoch is kept before a number of it, once; one that it did not sign is not", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const forged = signEpoch(9, Buffer.alloc(16), generateIdentity().sign);
  const envelope = signJob(job(1), master.identity.sign);
  await master.opened[0]?.notify({ kind: "job", envelope, after: 0, epoch: forged });
  await master.notify(2, 0);
  await master.notify(3, 0);
  await until("the jobs", () => minion.jobs.length === 3);
  expect(minion.epochs).toEqual([{ signed: master.epoch, at: 1 }]);
  expect(minion.connection.drops()).toMatchObject({ "bad-signature": 1 });
});

test("a one-off call takes no jobs", async () => {
  const master = await startMaster();
  const call = startMinion(master.endpoint, { call: true });
  await call.connection.ready();
  await master.publish(job(1));
  await heartbeat(call);
  expect(call.jobs).toEqual([]);
  expect(asked(master)).toEqual([]);
});
