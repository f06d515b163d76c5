import { beforeEach, expect, test } from "vitest";
import { CANARY_PATH } from "../../../src/core/canary.ts";
import { generateDhKey } from "../../../src/core/crypto/x25519.ts";
import { openSealed } from "../../../src/core/crypto/sealed-secret.ts";
import { AuthError } from "../../../src/core/errors.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import type { LeaseOutcome, LeasePurpose } from "../../../src/core/lease-purpose.ts";
import { RECOVERY_PREFIX } from "../../../src/core/recovery-ticket.ts";
import { Secret } from "../../../src/core/secret.ts";
import { EventBus } from "../../../src/master/events.ts";
import type { LeaseDecision } from "../../../src/master/leases/decision.ts";
import { Leases } from "../../../src/master/leases/leases.ts";
import type { LeasesOptions } from "../../../src/master/leases/leases-options.ts";
import { listLeases } from "../../../src/master/leases/list.ts";
import { Passphrases } from "../../../src/master/volumes/passphrases.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import type { Change, WriteResult } from "../../../src/master/store/store.ts";
import { signLease, signReceipt } from "../../../src/wire/lease-signature.ts";
import type { Request } from "../../../src/wire/messages.ts";
import { collect, FakeSession, HandClock, openAudit, pillarNaming, quiet, recordsOf } from "./fakes.ts";

const master = generateIdentity();
const ephemeral = generateDhKey();
const KEY = "the test's own key, 32 bytes long";
let store: MemoryStore;
let events: EventBus;
let clock: HandClock;
let session: FakeSession;
let handedOut: Secret[];

beforeEach(() => {
  store = new MemoryStore();
  clock = new HandClock();
  events = new EventBus(clock);
  session = new FakeSession("web1");
  handedOut = [];
});

async function leases({ audit, ...more }: Partial<LeasesOptions> = {}): Promise<Leases> {
  return new Leases({
    store,
    audit: audit ?? (await openAudit(store, clock)),
    events,
    log: quiet,
    identity: master,
    compilePillar: async (id) => pillarNaming(...(id === "web1" ? ["disk:password"] : [])),
    resolveSecret: async () => {
      const secret = Secret.take(Buffer.from(KEY));
      handedOut.push(secret);
      return { secret, version: 3, generated: true };
    },
    keepMs: 1_000_000,
    clock,
    ...more,
  });
}

function request(more: Partial<Request<"lease">> = {}, by = session): Request<"lease"> {
  const unsigned = {
    path: "disk:password",
    purpose: "open" as const,
    device: "/dev/vg0/data",
    version: 0,
    luksUuid: "u",
    layout: "",
    reencrypts: false,
    bootId: "b",
    ephemeral: ephemeral.publicKey,
  };
  return { ...signLease({ ...unsigned, ...more }, by.identity, by.handshakeHash), ...more };
}

test("releases what the minion's own pillar names, sealed to the key made for this lease", async () => {
  const answer = await (await leases()).lease(session, request());
  expect(answer).toMatchObject({ verdict: "allow", version: 3, generated: true });
  if (answer.verdict !== "allow") return;
  const secret = openSealed(answer.sealed, ephemeral, master.public.dhKey);
  expect(secret.expose().toString()).toBe(KEY);
  expect(Buffer.from(answer.sealed).includes(KEY)).toBe(false);
});

test("the master's own copy is wiped, whether released or not", async () => {
  await (await leases()).lease(session, request());
  store.fail = "disk full";
  await (await leases()).lease(session, request());
  expect(handedOut.map(({ wiped }) => wiped)).toEqual([true, true]);
});

test("I4: the record is durable before the secret is sealed, and names who, what, where and when", async () => {
  const order: string[] = [];
  class Watched extends MemoryStore {
    override async write(changes: readonly Change[]): Promise<WriteResult> {
      const result = await super.write(changes);
      order.push("record durable");
      return result;
    }
  }
  store = new Watched(clock);
  const dh = { ...master.dh };
  const sealing = new Proxy(dh, {
    get: (target, name, receiver) => {
      if (order.at(-1) !== "sealed") order.push("sealed");
      return Reflect.get(target, name, receiver) as unknown;
    },
  });
  await (await leases({ identity: { ...master, dh: sealing } })).lease(session, request());
  expect(order).toEqual(["record durable", "sealed"]);
  expect((await listLeases(store, 10)).leases).toMatchObject([
    {
      id: "web1",
      path: "disk:password",
      purpose: "open",
      device: "/dev/vg0/data",
      luksUuid: "u",
      bootId: "b",
      address: "192.0.2.1",
      verdict: "allow",
      version: 3,
      at: clock.time,
    },
  ]);
});

test("I4: what cannot be recorded is not released, and the operator sees why", async () => {
  const { events: seen } = collect(events);
  store.fail = "disk full";
  expect(await (await leases()).lease(session, request())).toEqual({ verdict: "deny" });
  await expect
    .poll(() => seen)
    .toMatchObject([{ tag: "lease/failed/web1", data: { reason: expect.stringContaining("disk full") } }]);
  store.fail = undefined;
  expect(await (await leases()).lease(session, request())).toMatchObject({ verdict: "allow" });
});

const broken = async () => Promise.reject(new Error("pillar broken"));
test.each<[string, Partial<LeasesOptions>, Partial<Request<"lease">>]>([
  ["a path that its pillar does not name", {}, { path: "other:password" }],
  ["a broken pillar (lesson: 2024-37088)", { compilePillar: broken }, {}],
  ["a secret that cannot be made durable", { resolveSecret: broken }, { purpose: "format" }],
  ["a secret that is not there", { resolveSecret: async () => undefined }, {}],
  [
    "a rule that says no",
    { authorize: async () => ({ verdict: "deny", reasons: [{ code: "time", text: "night" }] }) },
    {},
  ],
  ["a rule that fails", { authorize: broken }, {}],
])("I6: lesson: Talos refusals tell nothing, all are alike: %s", async (_what, options, fields) => {
  expect(await (await leases(options)).lease(session, request(fields))).toEqual({ verdict: "deny" });
  expect((await listLeases(store, 10)).leases).toMatchObject([
    { verdict: "deny", reasons: [{ code: expect.stringMatching(/./u), text: expect.stringMatching(/./u) }] },
  ]);
});

test("I6: a host whose leases were revoked gets no recovery passphrase either, though an operator handed one in", async () => {
  const passphrases = new Passphrases(clock);
  let revoked = false;
  const stopped = () => (revoked ? { code: "revoked", text: "leases were revoked by root" } : undefined);
  const room = await leases({ passphrases, stopped });
  const ask = async (ticket: string) =>
    (await room.lease(session, request({ path: `${RECOVERY_PREFIX}${ticket}`, purpose: "recovery" }))).verdict;
  const hold = () => passphrases.hold("web1", Secret.take(Buffer.from("a person's own")));
  expect(await ask(hold())).toBe("allow");
  revoked = true;
  const ticket = hold();
  expect(await ask(ticket)).toBe("deny");
  revoked = false;
  // it was not used up by the refusal
  expect(await ask(ticket)).toBe("allow");
  // revoked while it was being released
  const late = await leases({ passphrases, stopped, reached: (point) => (revoked ||= point === "resolved") });
  const other = request({ path: `${RECOVERY_PREFIX}${hold()}`, purpose: "recovery" });
  expect(await late.lease(session, other)).toEqual({ verdict: "deny" });
  passphrases[Symbol.dispose]();
});

test("a rule can hold a lease; the peer learns only when to ask again", async () => {
  const hold: LeaseDecision = { verdict: "hold", reasons: [{ code: "approvals", text: "four eyes" }], retryMs: 7000 };
  expect(await (await leases({ authorize: async () => hold })).lease(session, request())).toEqual({
    verdict: "hold",
    retryMs: 7000,
  });
  expect(handedOut).toEqual([]);
});

test("lesson: 2024-38825 proof of possession: a request that another key signed, or for another session, gets nothing", async () => {
  const other = new FakeSession("web1");
  await expect((await leases()).lease(session, request({}, other))).rejects.toMatchObject({ code: "lease-signature" });
  const elsewhere = Object.assign(new FakeSession("web1", session.identity), { handshakeHash: Buffer.alloc(32, 9) });
  await expect((await leases()).lease(session, request({}, elsewhere))).rejects.toMatchObject({
    code: "lease-signature",
  });
  const changed = { ...request(), purpose: "format" as const };
  await expect((await leases()).lease(session, changed)).rejects.toMatchObject({ code: "lease-signature" });
  expect(handedOut).toEqual([]);
});

test("what is held is asked for again and again, and recorded once a minute", async () => {
  const room = await leases({ authorize: async () => ({ verdict: "hold", reasons: [{ code: "budget", text: "x" }] }) });
  for (let n = 0; n < 11; n += 1) await room.lease(session, request());
  expect((await listLeases(store, 10)).leases).toHaveLength(1);
  clock.time += 60_000;
  await room.lease(session, request());
  expect((await listLeases(store, 10)).leases).toMatchObject([{ suppressed: 10 }, { suppressed: 0 }]);
});

test("requests of one minion for one secret are decided one by one: the next sees what came of the last", async () => {
  const seen: number[] = [];
  const room = await leases({
    authorize: async () => {
      const released = (await listLeases(store, 100)).leases.length;
      seen.push(released);
      return released === 0
        ? { verdict: "allow", reasons: [] }
        : { verdict: "hold", reasons: [{ code: "once-a-boot", text: "again" }] };
    },
  });
  const answers = await Promise.all(Array.from({ length: 5 }, async () => room.lease(session, request())));
  expect(answers.map(({ verdict }) => verdict)).toEqual(["allow", "hold", "hold", "hold", "hold"]);
  expect(seen).toEqual([0, 1, 2, 2, 2]);
});

test("I4: the audit chain has each decision with who, what, from where, why and by which policy, and the receipt", async () => {
  const reasons = [{ code: "rule", text: 'rule "web" says allow' }];
  const authorize = async (): Promise<LeaseDecision> => ({ verdict: "allow", reasons, rule: "web", policyHash: "ab" });
  const room = await leases({ authorize });
  const answer = await room.lease(session, request());
  await room.lease(session, request({ path: "other" }));
  const leaseId = answer.verdict === "allow" ? answer.leaseId : "";
  const receipt = { leaseId, outcome: "used" as const, wiped: true, tookMs: 12.5 };
  const signed = signReceipt(receipt, session.identity, session.handshakeHash);
  await Promise.all([room.receipt(session, signed), room.receipt(session, signed)]);
  const who = { actor: "web1", subject: "web1", from: "192.0.2.1", at: clock.time };
  const asked = { device: "/dev/vg0/data", luksUuid: "u", bootId: "b", purpose: "open" };
  expect(await recordsOf(store)).toMatchObject([
    {
      ...who,
      kind: "lease",
      data: { ...asked, path: "disk:password", verdict: "allow", reasons, rule: "web", policyHash: "ab", version: 3 },
    },
    { ...who, kind: "deny", data: { ...asked, path: "other", verdict: "deny", reasons: [{ code: "not-in-pillar" }] } },
    { ...who, kind: "receipt", data: { lease: 1, leaseId, outcome: "used", wiped: true, tookMs: 12.5, bootId: "b" } },
  ]);
});

test("refusals of one minion cannot fill the store", async () => {
  const room = await leases();
  for (let n = 0; n < 100; n += 1) await room.lease(session, request({ path: `x${n}` }));
  expect((await listLeases(store, 1000)).leases).toHaveLength(20);
  clock.time += 10_000;
  await room.lease(session, request({ path: "y" }));
  expect((await listLeases(store, 1000)).leases).toHaveLength(21);
});

test("a receipt is kept with its lease; another minion's is refused", async () => {
  const room = await leases();
  const answer = await room.lease(session, request());
  const leaseId = answer.verdict === "allow" ? answer.leaseId : "";
  const receipt = { leaseId, outcome: "used" as const, wiped: true, tookMs: 12 };
  await room.receipt(session, signReceipt(receipt, session.identity, session.handshakeHash));
  expect((await listLeases(store, 1)).leases).toMatchObject([{ receipt: { outcome: "used", wiped: true } }]);
  const thief = new FakeSession("web2");
  await expect(room.receipt(thief, signReceipt(receipt, thief.identity, thief.handshakeHash))).rejects.toMatchObject({
    code: "receipt-lease",
  });
  await expect(
    room.receipt(session, signReceipt(receipt, thief.identity, session.handshakeHash)),
  ).rejects.toMatchObject({ code: "receipt-signature" });
  const odd = { ...receipt, leaseId: "../keys" };
  await expect(room.receipt(session, signReceipt(odd, session.identity, session.handshakeHash))).rejects.toMatchObject({
    code: "receipt-lease",
  });
});

test("a lease has two receipts, of its use and of the mount: each kept once, in any order, and audited with its signature", async () => {
  const room = await leases();
  const answer = await room.lease(session, request());
  const leaseId = answer.verdict === "allow" ? answer.leaseId : "";
  const say = async (outcome: LeaseOutcome, tookMs: number) =>
    room.receipt(
      session,
      signReceipt({ leaseId, outcome, wiped: true, tookMs }, session.identity, session.handshakeHash),
    );
  await say("mounted", 310);
  expect((await listLeases(store, 1)).leases).toMatchObject([{ receipt: null, mounted: { tookMs: 310 } }]);
  await Promise.all([say("mounted", 311), say("opened", 45), say("opened", 45), say("mounted", 312)]);
  await say("failed", 47);
  expect((await listLeases(store, 1)).leases).toMatchObject([
    { receipt: { outcome: "opened", tookMs: 45, wiped: true }, mounted: { outcome: "mounted", tookMs: 310 } },
  ]);
  const receipts = (await recordsOf(store)).filter(({ kind }) => kind === "receipt");
  const signed = { leaseId, lease: 1, path: "disk:password", signature: expect.stringMatching(/^[0-9a-f]{128}$/u) };
  expect(receipts).toMatchObject([
    { actor: "web1", data: { ...signed, outcome: "mounted", tookMs: 310 } },
    { actor: "web1", data: { ...signed, outcome: "opened", tookMs: 45 } },
  ]);
});

test("a mount that another minion tells of, or with another's signature, is refused", async () => {
  const room = await leases();
  const answer = await room.lease(session, request());
  const leaseId = answer.verdict === "allow" ? answer.leaseId : "";
  const receipt = { leaseId, outcome: "mounted" as const, wiped: true, tookMs: 12 };
  const thief = new FakeSession("web2");
  await expect(room.receipt(thief, signReceipt(receipt, thief.identity, thief.handshakeHash))).rejects.toMatchObject({
    code: "receipt-lease",
  });
  const opened = signReceipt({ ...receipt, outcome: "opened" }, session.identity, session.handshakeHash);
  for (const forged of [
    signReceipt(receipt, thief.identity, session.handshakeHash),
    { ...opened, outcome: "mounted" as const },
  ]) {
    await expect(room.receipt(session, forged)).rejects.toMatchObject({ code: "receipt-signature" });
  }
  expect((await listLeases(store, 1)).leases).toMatchObject([{ receipt: null, mounted: null }]);
});

test.each<[LeasePurpose, string, string]>([
  ["open", "disk:password", "taken"],
  ["format", "disk:password", "taken"],
  ["check", "disk:password", "receipt-lease"],
  ["grow", "disk:password", "receipt-lease"],
  ["rotate", "disk:password", "receipt-lease"],
  ["recovery", "disk:password", "receipt-lease"],
  ["open", CANARY_PATH, "receipt-lease"],
])("a receipt that says mounted, for a lease to %s %s: %s", async (purpose, path, became) => {
  const room = await leases();
  const answer = await room.lease(session, request({ purpose, path }));
  const leaseId = answer.verdict === "allow" ? answer.leaseId : "";
  const receipt = { leaseId, outcome: "mounted" as const, wiped: true, tookMs: 12 };
  const sent = room.receipt(session, signReceipt(receipt, session.identity, session.handshakeHash));
  const answered = sent.then(
    () => "taken",
    (thrown: unknown) => (thrown instanceof AuthError ? thrown.code : "another error"),
  );
  expect(await answered).toBe(became);
  const kept = (await recordsOf(store)).filter(({ kind }) => kind === "receipt");
  expect(kept).toHaveLength(became === "taken" ? 1 : 0);
});

test("I5: neither records nor events nor answers in clear hold a byte of the key", async () => {
  const { events: seen } = collect(events);
  await (await leases()).lease(session, request());
  await expect.poll(() => seen.length).toBeGreaterThan(0);
  const all = JSON.stringify([seen, await listLeases(store, 10)]);
  expect(all).not.toContain(KEY);
  expect(all).not.toContain(Buffer.from(KEY).toString("base64"));
});

test.each([
  [1, "before its record", ["deny"]],
  [2, "after its record", ["allow", "deny"]],
])(
  "I6: what is forbidden after it was decided is not sealed, nor forgotten: check %i, %s",
  async (at, _what, verdicts) => {
    let asked = 0;
    const settled: boolean[] = [];
    const reached: string[] = [];
    const decision: LeaseDecision = {
      verdict: "allow",
      reasons: [],
      stopped: () => ((asked += 1) >= at ? { code: "revoked", text: "by root" } : undefined),
      settle: (released) => settled.push(released),
    };
    const room = await leases({ authorize: async () => decision, reached: (point) => reached.push(point) });
    expect(await room.lease(session, request())).toEqual({ verdict: "deny" });
    expect(reached).not.toContain("sealed");
    expect(settled).toEqual([verdicts.includes("allow")]);
    const list = (await listLeases(store, 10)).leases;
    expect(new Set(list.map(({ verdict }) => verdict))).toEqual(new Set(verdicts));
    expect(list).toHaveLength(verdicts.length);
    expect(list.find(({ verdict }) => verdict === "deny")?.reasons).toMatchObject([{ code: "revoked" }]);
    expect(handedOut.every(({ wiped }) => wiped)).toBe(true);
  },
);
