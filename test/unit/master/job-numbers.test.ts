import { beforeEach, expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { EventBus } from "../../../src/master/events.ts";
import { JobNumbers } from "../../../src/master/jobs/job-numbers.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { EPOCH_JOBS, epochOf, MAX_EPOCH, signEpoch } from "../../../src/wire/job-epoch.ts";
import type { SignedEpoch } from "../../../src/wire/messages.ts";
import { collect, HandClock, quiet } from "./fakes.ts";

const KEY = "meta/job-seq";
const identity = generateIdentity();
const clock = new HandClock();
let store: MemoryStore;
let events: EventBus;

beforeEach(() => {
  store = new MemoryStore(clock);
  events = new EventBus(clock);
});

const load = async (from = store) => JobNumbers.load({ store: from, identity, events, log: quiet, clock });
const kept = async (from = store) => JSON.parse(Buffer.from((await from.get(KEY))?.value ?? "").toString()) as unknown;
async function hold(seq: number): Promise<void> {
  await store.write([{ op: "put", key: KEY, value: Buffer.from(JSON.stringify({ seq, jid: "" })) }]);
}

/** The store as it is now, as a backup has it. */
async function backup(): Promise<MemoryStore> {
  const copy = new MemoryStore(clock);
  const value = (await store.get(KEY))?.value ?? Buffer.alloc(0);
  await copy.write([{ op: "put", key: KEY, value }]);
  return copy;
}

/** Takes so many numbers; the last of them, and the epoch that a host keeps with it. */
async function take(
  numbers: JobNumbers,
  count: number,
): Promise<{ readonly seq: number; readonly epoch: SignedEpoch }> {
  for (let n = 0; n < count; n += 1) {
    const next = numbers.next(clock.now());
    await store.write([numbers.change(next)]);
    numbers.took(next);
  }
  return { seq: numbers.seq, epoch: numbers.epoch };
}

test("I7: a number that a host only claims moves nothing; it is counted, and the host is named, not without end", async () => {
  const seen = collect(events);
  const numbers = await load();
  const before = numbers.seq;
  for (const lastSeq of [before, before + 1, 2 ** 52, 2 ** 53 - 1, before + 2 ** 33])
    numbers.claimed("web1", { lastSeq });
  numbers.claimed("web2", { lastSeq: 2 ** 52 });
  expect(numbers.seq).toBe(before);
  expect(await kept()).toMatchObject({ seq: before });
  expect(numbers.unprovenClaims).toBe(5);
  await expect.poll(() => seen.events).toHaveLength(4);
  const tags = seen.events.map(({ tag }) => tag);
  expect(tags).toEqual([...Array.from({ length: 3 }, () => "job-numbers/unproven/web1"), "job-numbers/unproven/web2"]);
  expect(seen.events[0]?.data).toMatchObject({ id: "web1", lastSeq: before + 1, seq: before });
  seen.end();
});

test("I7: a master whose store is from a backup goes on above every number of its life before, once a host shows it", async () => {
  const seen = collect(events);
  await hold(0);
  const old = await backup();
  let host: Awaited<ReturnType<typeof take>> | undefined;
  for (let life = 0; life < 3; life += 1) host = await take(await load(), 7);
  if (!host) throw new Error("no life");
  store = old;
  const restored = await load();
  expect(restored.seq).toBeLessThan(host.seq);
  expect(restored.isNews(host.epoch)).toBe(true);
  await restored.show("web1", host.epoch);
  expect(restored.seq).toBeGreaterThan(host.seq);
  expect(epochOf(restored.seq)).toBe(host.epoch.epoch + 1);
  // on disk when it resolves: killed now, it begins above
  expect(await kept()).toMatchObject({ seq: restored.seq });
  expect((await load()).seq).toBeGreaterThan(restored.seq);
  await expect.poll(() => seen.events.map(({ tag }) => tag)).toEqual(["job-numbers/raised/web1"]);
  seen.end();
});

test("I7: restored twice from one backup, the lives have the same epoch and are told apart", async () => {
  await load();
  const old = await backup();
  const host = await take(await load(), 5);
  store = old;
  const second = await load();
  expect(second.epoch.epoch).toBe(host.epoch.epoch);
  const late = await take(second, 2);
  await second.show("web1", host.epoch);
  expect(second.seq).toBeGreaterThan(host.seq);
  // a host of this very life that comes back is none of the life before
  const { seq } = second;
  expect(second.isNews(late.epoch)).toBe(false);
  await second.show("web2", late.epoch);
  expect(second.seq).toBe(seq);
});

test.each([
  ["another master's", (epoch: number) => signEpoch(epoch, Buffer.alloc(16), generateIdentity().sign)],
  ["one with its number changed", (epoch: number) => ({ ...signEpoch(1, Buffer.alloc(16), identity.sign), epoch })],
  [
    "one with its nonce changed",
    (epoch: number) => ({ ...signEpoch(epoch, Buffer.alloc(16), identity.sign), nonce: Buffer.alloc(16, 1) }),
  ],
  ["one with no signature", (epoch: number) => ({ epoch, nonce: Buffer.alloc(16), signature: Buffer.alloc(64) })],
  [
    "the largest there can be",
    () => ({ epoch: Number.MAX_SAFE_INTEGER, nonce: Buffer.alloc(16), signature: Buffer.alloc(64) }),
  ],
])("I7: %s is no proof", async (_what, forge) => {
  const numbers = await load();
  const { seq } = numbers;
  await numbers.show("web1", forge(epochOf(seq) + 3));
  expect([numbers.seq, await kept()]).toEqual([seq, { seq, jid: "" }]);
});

test("proofs that are old and right, without end, cost neither a write nor a signature's check", async () => {
  const first = (await load()).epoch;
  const numbers = await load();
  store.fail = "nothing may be written";
  for (let n = 0; n < 100_000; n += 1) {
    if (numbers.isNews(first) || numbers.isNews(numbers.epoch) || numbers.isNews(undefined)) throw new Error("news");
  }
  await numbers.show("web1", first);
  expect(numbers.unprovenClaims).toBe(0);
});

test("I7: a proof is worth nothing before what follows from it is on disk", async () => {
  const numbers = await load();
  const { seq, epoch } = numbers;
  store.fail = "disk full";
  const shown = signEpoch(epoch.epoch + 9, Buffer.alloc(16), identity.sign);
  await expect(numbers.show("web1", shown)).rejects.toMatchObject({ code: "store-failed" });
  expect(numbers.seq).toBe(seq);
  store.fail = undefined;
  await numbers.show("web1", shown);
  expect(epochOf(numbers.seq)).toBe(epoch.epoch + 10);
});

test("what hosts and stores have from before there were epochs lies below the first of them", async () => {
  await hold(2 ** 48);
  const numbers = await load();
  expect(numbers.seq).toBeGreaterThan(2 ** 48);
  numbers.claimed("web1", { lastSeq: 2 ** 48 });
  expect(numbers.unprovenClaims).toBe(0);
  await hold(3);
  expect((await load()).seq).toBeGreaterThan(2 ** 48);
});

test("an epoch that is full is followed by the next; when all are, it goes on in the last, then says so", async () => {
  const numbers = await load();
  const { epoch } = numbers.epoch;
  numbers.took({ seq: (epoch + 1) * EPOCH_JOBS - 1, jid: "" });
  expect(numbers.epoch.epoch).toBe(epoch);
  numbers.took(numbers.next(clock.now()));
  expect(numbers.epoch.epoch).toBe(epoch + 1);

  await hold(MAX_EPOCH * EPOCH_JOBS + 5);
  const last = await load();
  expect(last.next(clock.now()).seq).toBe(MAX_EPOCH * EPOCH_JOBS + 6);
  await last.show("web1", signEpoch(MAX_EPOCH, Buffer.alloc(16), identity.sign));
  expect(last.seq).toBe(MAX_EPOCH * EPOCH_JOBS + 5);
  last.took({ seq: Number.MAX_SAFE_INTEGER, jid: "" });
  expect(() => last.next(clock.now())).toThrow(expect.objectContaining({ code: "job-numbers-spent" }));
});
