import { afterEach, expect, test } from "vitest";
import { signJob } from "../../../src/wire/job-envelope.ts";
import { closeAll, heartbeat, job, startMaster, startMinion, until } from "./pair.ts";

afterEach(closeAll);

const seqs = (jobs: readonly { readonly seq: number }[]) => jobs.map(({ seq }) => seq);

test("I7: two minions get every published job once, in order, each number saved first", async () => {
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
});

test("I7: jobs published before the session are fetched, those before a restart of the minion are not run again", async () => {
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

test("I7 lesson: 2022-22936 a job given again, by whatever way, is dropped and counted", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const envelope = await master.publish(job(1));
  await heartbeat(minion);
  await until("the job", () => minion.jobs.length === 1);
  await master.opened[0]?.notify({ kind: "job", envelope });
  await master.endpoint.publish(job(1));
  await until("replays counted", () => (minion.connection.drops()["replayed"] ?? 0) >= 1);
  expect(minion.jobs).toHaveLength(1);
});

test("I7: each master has a sequence of its own; an old job of one is a replay also after a time with another", async () => {
  const [first, second] = [await startMaster(), await startMaster()];
  const positions = new Map([[first.identity.fingerprint, 500]]);
  const fingerprints = [first.identity.fingerprint, second.identity.fingerprint];
  const minion = startMinion(first.endpoint, { fingerprints, positions, more: [second.endpoint] });
  await minion.connection.ready();
  const old = signJob(job(499), first.identity.sign);
  await first.endpoint.close();
  await until("the other master", () => minion.connection.state.kind === "connected" && second.opened.length > 0);
  await minion.connection.ready();
  await second.publish(job(1));
  await heartbeat(minion);
  await until("the new master's job", () => minion.jobs.length === 1);
  expect(seqs(minion.jobs)).toEqual([1]);
  await second.endpoint.close();
  const back = await startMaster(first.identity, [first.endpoint.publishPort, first.endpoint.returnPort]);
  await until("the first master again", () => back.opened.length > 0);
  await minion.connection.ready();
  await back.opened[0]?.notify({ kind: "job", envelope: old });
  await until("the replay counted", () => (minion.connection.drops()["replayed"] ?? 0) === 1);
  await back.opened[0]?.notify({ kind: "job", envelope: signJob(job(501), first.identity.sign) });
  await until("its next job", () => minion.jobs.length === 2);
  expect(seqs(minion.jobs)).toEqual([1, 501]);
});

test("I7: a missed job arrives as a notice with the same envelope", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const elsewhere = await startMaster(master.identity);
  const envelope = await elsewhere.publish(job(1));
  expect(await master.opened[0]?.notify({ kind: "job", envelope })).toBe(true);
  await until("the job", () => minion.jobs.length === 1);
});

test("I7: an unsigned job or one of another signer is dropped, even inside the session", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const stranger = await startMaster();
  const envelope = await stranger.publish(job(1));
  await master.opened[0]?.notify({ kind: "job", envelope });
  await master.opened[0]?.notify({ kind: "job", envelope: new Uint8Array(10) });
  await until("both counted", () => minion.connection.drops()["bad-signature"] === 2);
  expect(minion.jobs).toHaveLength(0);
});

test("I7: a published job from outside the clock window is asked for on the session instead", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  await until("published", () => {
    if (master.kept.length === 0) void master.publish(job(1, Date.now() - 3_600_000));
    void master.endpoint.publish(job(1, Date.now() - 3_600_000));
    return (minion.connection.drops()["stale"] ?? 0) > 0;
  });
  await until("fetched", () => minion.jobs.length === 1);
  expect(master.requests.some(({ method }) => method === "jobs.since")).toBe(true);
});

test("lesson: #52662 after the fleet key is replaced jobs go on, and the old key opens nothing", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const before = master.endpoint.fleetKey;
  await master.endpoint.rotateFleetKey();
  expect(master.endpoint.fleetKey.id).not.toBe(before.id);
  expect(Buffer.from(master.endpoint.fleetKey.key)).not.toEqual(Buffer.from(before.key));
  await master.publish(job(1));
  await heartbeat(minion);
  await until("the job", () => minion.jobs.length === 1);
});

test("I7: where the master's answer has no job for a number, the minion goes past it, and never back", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  await master.publish(job(7));
  await heartbeat(minion);
  await until("the job", () => minion.jobs.length === 1);
  await master.endpoint.publish(job(3));
  await master.publish(job(8));
  await heartbeat(minion, 7);
  await until("the next", () => minion.jobs.length === 2);
  expect(seqs(minion.jobs)).toEqual([7, 8]);
});

test("a one-off call takes no jobs", async () => {
  const master = await startMaster();
  const call = startMinion(master.endpoint, { call: true });
  await call.connection.ready();
  await master.publish(job(1));
  await heartbeat(call);
  expect(call.jobs).toEqual([]);
  expect(master.requests.map(({ method }) => method)).not.toContain("jobs.since");
});
