import { randomBytes } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Enrolment, type EnrolmentOptions } from "../../../src/master/enrolment.ts";
import { EventBus } from "../../../src/master/events.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { collect, FakeSession, HandClock, openAudit, quiet, recordsOf } from "./fakes.ts";

const one = generateIdentity().public;
const two = generateIdentity().public;
let store: MemoryStore;
let clock: HandClock;
let events: EventBus;
let cuts: string[][];
let forgotten: string[];

beforeEach(() => {
  store = new MemoryStore();
  clock = new HandClock();
  events = new EventBus(clock);
  cuts = [];
  forgotten = [];
});

const load = async (more: Partial<Pick<EnrolmentOptions, "autoAccept" | "cut" | "log" | "maxPending">> = {}) =>
  Enrolment.load({
    store,
    audit: await openAudit(store, clock),
    events,
    log: quiet,
    clock,
    autoAccept: false,
    cut: async (ids) => void cuts.push([...ids]),
    forget: async (id) => void forgotten.push(id),
    ...more,
  });
const act = async (keys: Enrolment, action: "accept" | "delete" | "reject", match: string) =>
  keys.act({ action, match, dryRun: false });
const states = (keys: Enrolment) => keys.list().map(({ id, state }) => `${id} ${state}`);

test("a new key waits, is refused until accepted, and the decision outlives a restart", async () => {
  const keys = await load();
  expect(await keys.admit("web1", one, "192.0.2.1")).toBe("refuse");
  expect(states(keys)).toEqual(["web1 pending"]);
  await act(keys, "accept", "web1");
  expect(await keys.admit("web1", one, "192.0.2.1")).toBe("accept");
  const again = await load();
  expect(await again.admit("web1", one, "192.0.2.1")).toBe("accept");
});

test("who holds an id is asked without leaving a trace; last seen is when a session begins", async () => {
  const keys = await load();
  await keys.admit("web1", one, "192.0.2.1");
  expect(keys.holder("web1")).toBeUndefined();
  await act(keys, "accept", "web1");
  const before = keys.list();
  clock.time += 60_000;
  expect(keys.holder("web1")).toEqual({ signKey: Buffer.from(one.signKey), dhKey: Buffer.from(one.dhKey) });
  expect(keys.holder("web2")).toBeUndefined();
  expect(keys.list()).toEqual(before);
  keys.met({ minionId: "web1", address: "192.0.2.7" });
  expect(keys.list()).toMatchObject([{ lastSeen: clock.time, address: "192.0.2.7" }]);
  await act(keys, "reject", "web1");
  expect(keys.holder("web1")).toBeUndefined();
});

test("I6: unknown, pending, rejected and usurped ids all get the same word", async () => {
  const keys = await load();
  await keys.admit("pending", one, "");
  await keys.admit("rejected", one, "");
  await act(keys, "reject", "rejected");
  await keys.admit("held", one, "");
  await act(keys, "accept", "held");
  const answers = await Promise.all([
    keys.admit("unknown", two, ""),
    keys.admit("pending", one, ""),
    keys.admit("rejected", one, ""),
    keys.admit("held", two, ""),
    keys.admit("../etc", two, ""),
  ]);
  expect(new Set(answers)).toEqual(new Set(["refuse"]));
});

test("an id that another key holds: refused, recorded as denied, an event, and the holder goes on", async () => {
  const { events: seen } = collect(events);
  const keys = await load();
  await keys.admit("web1", one, "");
  await act(keys, "accept", "web1");
  await keys.admit("web1", two, "198.51.100.9");
  await keys.admit("web1", two, "198.51.100.9");
  expect(states(keys)).toEqual(["web1 accepted", "web1 denied"]);
  expect(await keys.admit("web1", one, "")).toBe("accept");
  await expect.poll(() => seen.filter(({ tag }) => tag === "key/denied/web1")).toHaveLength(1);
  expect(states(await load())).toEqual(["web1 accepted", "web1 denied"]);
});

test("keys that ask for a held id without end are neither recorded nor logged without end", async () => {
  const lines: unknown[] = [];
  const keys = await load({ log: { ...quiet, info: () => {}, warn: (line: unknown) => void lines.push(line) } });
  await keys.admit("web1", one, "");
  const strange = () => ({ signKey: randomBytes(32), dhKey: randomBytes(32) });
  for (let count = 0; count < 1003; count += 1) await keys.admit("web1", strange(), "");
  expect(lines).toHaveLength(1000);
  expect(keys.list()).toHaveLength(1001);
});

test("both halves of an identity must match", async () => {
  const keys = await load();
  await keys.admit("web1", one, "");
  await act(keys, "accept", "web1");
  expect(await keys.admit("web1", { signKey: one.signKey, dhKey: two.dhKey }, "")).toBe("refuse");
  expect(await keys.admit("web1", { signKey: two.signKey, dhKey: one.dhKey }, "")).toBe("refuse");
});

test("lesson: deleting a key cuts the live session at once", async () => {
  const keys = await load();
  const session = new FakeSession("web1");
  await keys.admit("web1", session.peer, "");
  await act(keys, "accept", "web1");
  expect(keys.allows(session)).toBe(true);
  await act(keys, "delete", "web*");
  expect(keys.allows(session)).toBe(false);
  expect(cuts).toEqual([["web1"]]);
  expect(forgotten).toEqual(["web1"]);
  expect(await keys.admit("web1", two, "")).toBe("refuse");
  expect(states(keys)).toEqual(["web1 pending"]);
});

test.each(["reject", "delete"] as const)(
  "a %s that cannot be recorded cuts the host off all the same, throws, and can be done again",
  async (action) => {
    const keys = await load();
    const session = new FakeSession("web1");
    await keys.admit("web1", session.peer, "");
    await act(keys, "accept", "web1");
    store.fail = "disk full";
    await expect(act(keys, action, "web1")).rejects.toMatchObject({ code: "store-failed" });
    expect(cuts).toEqual([["web1"]]);
    expect(keys.allows(session)).toBe(false);
    expect(await keys.admit("web1", session.peer, "")).toBe("refuse");
    store.fail = undefined;
    expect(await keys.admit("web1", session.peer, "")).toBe("refuse");
    expect(await act(keys, action, "web1")).toHaveLength(1);
    await keys.admit("web1", session.peer, "");
    await act(keys, "accept", "web1");
    expect(await keys.admit("web1", session.peer, "")).toBe("accept");
    expect(keys.allows(session)).toBe(true);
  },
);

test("a key whose rejection could not be recorded is shown as barred, and accepted again by its full name alone", async () => {
  const keys = await load();
  const session = new FakeSession("web1");
  await keys.admit("web1", session.peer, "");
  await act(keys, "accept", "web1");
  store.fail = "disk full";
  await expect(act(keys, "reject", "web1")).rejects.toMatchObject({ code: "store-failed" });
  store.fail = undefined;
  expect(states(keys)).toEqual(["web1 barred"]);
  expect(await act(keys, "accept", "web*")).toEqual([]);
  expect(keys.allows(session)).toBe(false);
  expect(await act(keys, "accept", "web1")).toMatchObject([{ id: "web1", state: "barred" }]);
  expect(states(keys)).toEqual(["web1 accepted"]);
  expect(keys.allows(session)).toBe(true);
  expect((await recordsOf(store)).at(-1)).toMatchObject({ kind: "key-accepted", data: { before: "barred" } });
});

test("a cut that fails is told, and the decision is recorded all the same", async () => {
  const keys = await load({
    cut: async () => {
      throw new Error("cannot cut the session");
    },
  });
  await keys.admit("web1", one, "");
  await act(keys, "accept", "web1");
  await expect(act(keys, "reject", "web1")).rejects.toThrow("cannot cut");
  expect(states(keys)).toEqual(["web1 rejected"]);
});

test("a rejected key is accepted again only by its full name", async () => {
  const keys = await load();
  await keys.admit("web1", one, "");
  await act(keys, "reject", "*");
  expect(await act(keys, "accept", "*")).toEqual([]);
  expect(await act(keys, "accept", "web1")).toHaveLength(1);
});

test("a dry run tells and changes nothing", async () => {
  const keys = await load();
  await keys.admit("web1", one, "");
  expect(await keys.act({ action: "accept", match: "w*", dryRun: true })).toMatchObject([{ id: "web1" }]);
  expect(states(keys)).toEqual(["web1 pending"]);
});

test("pending keys are bounded, in all and by network; a flood pushes out its own, and never a host from elsewhere", async () => {
  const { events: seen } = collect(events);
  const lines: unknown[] = [];
  const log = { ...quiet, info: () => {}, warn: (line: unknown) => void lines.push(line) };
  const keys = await load({ maxPending: 20, log });
  await keys.admit("mine", one, "203.0.113.7");
  for (const n of [1, 2, 3]) await keys.admit(`a${n}`, one, "192.0.2.1");
  expect(states(keys)).toEqual(["a2 pending", "a3 pending", "mine pending"]);
  for (let n = 0; n < 9; n += 1) await keys.admit(`b${n}`, one, `2001:db8:0:${n}::1`);
  for (let n = 0; n < 9; n += 1) await keys.admit(`c${n}`, one, `2001:db8:0:${n}::2`);
  await keys.admit("d", one, "198.51.100.9");
  expect(states(keys)).toHaveLength(20);
  expect(states(keys)).toEqual(expect.arrayContaining(["mine pending", "d pending"]));
  await expect.poll(() => seen.filter(({ tag }) => tag === "limit/pending-keys")).toHaveLength(1);
  expect(lines).toEqual([{ limit: "pending-keys", count: 1, address: "192.0.2.1" }]);
});

test("the pending key of a host that goes on asking outlasts others of its network", async () => {
  const keys = await load({ maxPending: 20 });
  await keys.admit("mine", one, "192.0.2.1");
  await keys.admit("other", one, "192.0.2.1");
  clock.time += 60_000;
  await keys.admit("mine", one, "192.0.2.1");
  await keys.admit("new", one, "192.0.2.1");
  expect(states(keys)).toEqual(["mine pending", "new pending"]);
});

test("a flood of keys leaves no audit record each: it is turned away, and a host from elsewhere still comes in", async () => {
  const keys = await load({ maxPending: 20 });
  for (let n = 0; n < 1000; n += 1) await keys.admit(`a${n}`, one, `192.0.2.${n % 50}`);
  const kinds = (await recordsOf(store)).filter(({ kind }) => kind === "key-pending");
  expect(kinds.length).toBeLessThanOrEqual(220);
  await keys.admit("mine", one, "203.0.113.7");
  expect(states(keys)).toContain("mine pending");
  expect(states(keys)).toHaveLength(20);
});

test("two keys that race for a new id: one holds it, the other is denied", async () => {
  const keys = await load({ autoAccept: true });
  const answers = await Promise.all([keys.admit("web1", one, ""), keys.admit("web1", two, "")]);
  expect(answers).toEqual(["accept", "refuse"]);
  expect(states(keys)).toEqual(["web1 accepted", "web1 denied"]);
});

test("what cannot be stored is not accepted", async () => {
  const keys = await load({ autoAccept: true });
  store.fail = "disk full";
  expect(await keys.admit("web1", one, "")).toBe("refuse");
  expect(states(keys)).toEqual([]);
  store.fail = undefined;
  await keys.admit("web1", one, "");
  store.fail = "disk full";
  await expect(act(keys, "delete", "web1")).rejects.toMatchObject({ code: "store-failed" });
  expect(states(keys)).toEqual(["web1 barred"]);
});

test.each(["../x", "a/b", "-x", ".x", "a..b", "", "a b", "a\0", "x".repeat(254)])(
  "lesson: 2020-11652 ids match a strict pattern: %j is refused and not recorded",
  async (id) => {
    const keys = await load({ autoAccept: true });
    expect(await keys.admit(id, one, "")).toBe("refuse");
    expect(states(keys)).toEqual([]);
  },
);

test("each decision about a key is in the audit chain, with who took it", async () => {
  const keys = await load();
  await keys.admit("web1", one, "192.0.2.1");
  await act(keys, "accept", "web*");
  await keys.admit("web1", two, "192.0.2.66");
  await act(keys, "reject", "web1");
  await act(keys, "delete", "web1");
  const records = await recordsOf(store);
  expect(records.map(({ kind, actor, from, subject }) => [kind, actor, from, subject])).toEqual([
    ["key-pending", "web1", "192.0.2.1", "web1"],
    ["key-accepted", "root", "control socket", "web1"],
    ["key-denied", "web1", "192.0.2.66", "web1"],
    ["key-rejected", "root", "control socket", "web1"],
    ["key-deleted", "root", "control socket", "web1"],
    ["key-deleted", "root", "control socket", "web1"],
  ]);
});

test("what cannot be recorded is not done: the key stays as it was", async () => {
  const keys = await load();
  await keys.admit("web1", one, "");
  store.fail = "no space left on device";
  await expect(act(keys, "accept", "web1")).rejects.toThrow(/no space left/u);
  expect(states(keys)).toEqual(["web1 pending"]);
});
