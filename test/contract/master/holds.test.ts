import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import { createLogger } from "../../../src/core/log.ts";
import type { ApprovalStatement, RebootStatement } from "../../../src/core/operator-statement.ts";
import type { Explained, PolicyStatus } from "../../../src/core/release-api.ts";
import { createLeases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
import { startMinion, type TestMinion, until } from "../wire/pair.ts";
import { addOperator, approve, heldNow, holdList, REFUSED, sign, statementOf } from "./approving.ts";
import { usePlace } from "./place.ts";
import { leaseKey, portsOf, type Rig, rig, tinyPillar } from "./rig.ts";

const key = randomBytes(32);
const place = usePlace();

const policyPath = () => join(place.directory, "release.yaml");
const writePolicy = (...rules: readonly object[]) => writeFileSync(policyPath(), JSON.stringify({ rules }));

async function start(): Promise<Rig> {
  const config = { release_policy: policyPath() };
  const one = await place.start({ openPillar: async () => tinyPillar(key) }, config);
  return one;
}

async function connect(one: Rig, id = "web1"): Promise<TestMinion> {
  const minion = await place.connect(portsOf(one), { id, fingerprints: [one.master.fingerprint] });
  return minion;
}

/** A clock on which no pause ends of itself. */
const endless: Clock = {
  ...systemClock,
  sleep: async (_ms, signal) => {
    signal?.throwIfAborted();
    const { promise, reject } = Promise.withResolvers<never>();
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    return promise;
  },
};

/** A lease as the minion's runs take it: it waits while it is held. Resolves with the key. */
function waitingLease({ connection, identity }: TestMinion, clock: Clock = systemClock) {
  const leases = createLeases({
    host: new FakeHost(),
    link: createLink(connection, clock, () => 0.5),
    identity,
    bootId: "b",
    clock,
    log: createLogger("test", "silent"),
    random: () => 0.5,
    waitMs: 60_000,
    signal: new AbortController().signal,
    onWait: () => {},
    onLostReceipt: () => {},
  });
  return leases.lease("secret:disk:password", "open", { device: "/dev/vg0/data" }, async ({ secret }) => ({
    key: Buffer.from(secret.expose()),
  }));
}

test("lesson: tang #20, #92 a held lease opens with the approval, without asking in between, and the approval is used up", async () => {
  writePolicy({ name: "ask", verdict: "hold" });
  const one = await start();
  const minion = await connect(one);
  const lease = waitingLease(minion, endless);
  const hold = await heldNow(one);
  expect(hold).toMatchObject({ path: "disk:password", purpose: "open", device: "/dev/vg0/data", rule: "ask" });
  expect(hold.address).toBe("127.0.0.1");
  await approve(one, { statement: statementOf(one, hold, "root") });
  expect((await lease).key).toEqual(key);
  expect((await holdList(one)).holds).toEqual([]);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  await expect(approve(one, { statement: statementOf(one, hold, "root") })).rejects.toMatchObject({
    code: "no-such-hold",
  });
});

test("repeated requests refresh one entry, and another boot is another matter", async () => {
  writePolicy({ name: "ask", verdict: "hold" });
  const one = await start();
  const minion = await connect(one);
  for (let n = 0; n < 5; n += 1) expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const [hold, ...others] = (await holdList(one)).holds;
  expect(others).toEqual([]);
  expect(hold).toMatchObject({ bootId: "b", approvals: [] });
  expect(await leaseKey(minion, "disk:password", "open", "another boot")).toBe("hold");
  const [next] = (await holdList(one)).holds;
  expect(next?.holdId).not.toBe(hold?.holdId);
});

test("lesson: OpenBao #3814, #3815 who asked cannot approve, nobody counts twice, strangers not at all", async () => {
  writePolicy({ name: "four eyes", require: { approvals: { count: 2, of: ["ann", "bob", "cid"] } } });
  const one = await start();
  const keys = { ann: await addOperator(one, "ann"), bob: await addOperator(one, "bob") };
  const cid = await addOperator(one, "cid");
  const eve = await addOperator(one, "eve");
  const announcement: RebootStatement = {
    what: "reboot",
    master: one.master.fingerprint,
    targetKind: "glob",
    target: "web*",
    windowMs: 60_000,
    operator: "ann",
    expires: Date.now() + 60_000,
    nonce: "0".repeat(32),
  };
  const minion = await connect(one);
  await expect(
    one.client.request("POST", "/v1/reboots", { statement: { ...announcement, operator: "root" } }),
  ).rejects.toMatchObject(REFUSED);
  await one.client.request("POST", "/v1/reboots", sign(announcement, keys.ann));
  await expect(one.client.request("POST", "/v1/reboots", sign(announcement, keys.ann))).rejects.toMatchObject({
    message: expect.stringContaining("it was used before"),
  });
  const lease = waitingLease(minion);
  const hold = await heldNow(one);
  expect(hold.askers).toEqual(["ann"]);
  const refused = [
    sign(statementOf(one, hold, "ann"), keys.ann),
    sign(statementOf(one, hold, "eve"), eve),
    sign(statementOf(one, hold, "bob"), eve),
    sign(statementOf(one, hold, "dan"), eve),
    { statement: statementOf(one, hold, "root") },
    { statement: statementOf(one, hold, "bob") },
  ];
  for (const body of refused) await expect(approve(one, body)).rejects.toMatchObject(REFUSED);
  for (let n = 0; n < 2; n += 1) await approve(one, sign(statementOf(one, hold, "bob"), keys.bob));
  expect((await heldNow(one)).approvals.map(({ operator }) => operator)).toEqual(["bob"]);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  await approve(one, sign(statementOf(one, hold, "cid"), cid));
  expect((await lease).key).toEqual(key);
});

test("I6, lesson: 2020-28972 forged, replayed, expired and misdirected approvals open nothing", async () => {
  writePolicy({ name: "ask", verdict: "hold" });
  const one = await start();
  const ann = await addOperator(one, "ann");
  const minion = await connect(one);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(one);
  const good = sign(statementOf(one, hold, "ann"), ann);
  const wrong: Partial<ApprovalStatement>[] = [
    { expires: Date.now() - 1 },
    { expires: Date.now() + 86_400_000 },
    { master: "SHA256:other" },
    { minion: "web2" },
    { secret: "other" },
    { purpose: "format" },
    { device: "/dev/sda" },
    { address: "192.0.2.1" },
    { bootId: "another" },
    { reasons: "00" },
  ];
  for (const more of wrong) {
    await expect(approve(one, sign(statementOf(one, hold, "ann", more), ann))).rejects.toMatchObject(REFUSED);
  }
  // a good signature under a statement that was changed afterwards
  for (const more of wrong) {
    const forged = { ...good, statement: { ...good.statement, ...more } };
    await expect(approve(one, forged)).rejects.toMatchObject(REFUSED);
  }
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  await approve(one, good);
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  await expect(approve(one, good)).rejects.toMatchObject({ code: "no-such-hold" });
});

test("an approval by an operator who is struck off before it is used is void", async () => {
  writePolicy({ name: "ask", verdict: "hold", lift: { count: 2 } });
  const one = await start();
  const [ann, bob] = [await addOperator(one, "ann"), await addOperator(one, "bob")];
  const minion = await connect(one);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(one);
  await approve(one, sign(statementOf(one, hold, "ann"), ann));
  await one.client.request("POST", "/v1/operators", { action: "remove", name: "ann" });
  const imposter = await addOperator(one, "ann");
  await approve(one, sign(statementOf(one, hold, "bob"), bob));
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  await approve(one, sign(statementOf(one, hold, "ann"), imposter));
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
});

test("a denial ends the hold: the same boot is denied, and who was waiting hears it", async () => {
  writePolicy({ name: "ask", verdict: "hold" });
  const one = await start();
  const minion = await connect(one);
  const lease = waitingLease(minion);
  lease.catch(() => {});
  const hold = await heldNow(one);
  await one.client.request("POST", "/v1/holds/deny", { hold: hold.holdId });
  await expect(lease).rejects.toMatchObject({ code: "lease-denied" });
  expect(await leaseKey(minion, "disk:password")).toBe("deny");
  await expect(approve(one, { statement: statementOf(one, hold, "root") })).rejects.toMatchObject(REFUSED);
  await one.client.request("POST", "/v1/revocations", { action: "allow", id: "web1", path: null });
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
});

test("lesson: clevis #507, #566 revoking one host cuts its live session and spares the others", async () => {
  const one = await start();
  const [minion, other] = [await connect(one), await connect(one, "web2")];
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  const session = Buffer.from(minion.connection.handshakeHash);
  await one.client.request("POST", "/v1/revocations", { action: "revoke", id: "web1", path: null });
  await until("the session is cut", () => {
    const { state } = minion.connection;
    return state.kind !== "connected" || !session.equals(minion.connection.handshakeHash);
  });
  await minion.connection.ready(AbortSignal.timeout(60_000));
  expect(await leaseKey(minion, "disk:password")).toBe("deny");
  expect(await leaseKey(other, "disk:password")).toEqual(key);
  await one.client.request("POST", "/v1/revocations", { action: "allow", id: "web1", path: null });
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
});

test("I4: a broken policy releases nothing and says where; a right one is in force with the next request", async () => {
  const one = await start();
  const minion = await connect(one);
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  writeFileSync(policyPath(), "rules:\n  - name: all\n    match:\n      networks: [10.0.0.0/99]\n");
  expect(await leaseKey(minion, "disk:password")).toBe("deny");
  const status = async () => one.client.request<PolicyStatus>("GET", "/v1/policy");
  expect(await status()).toMatchObject({ kind: "broken" });
  expect((await status()).problem).toMatch(/rules\.0\.match\.networks.*release\.yaml:4/u);
  writePolicy({ name: "all" });
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  writePolicy();
  expect(await leaseKey(minion, "disk:password")).toBe("deny");
  rmSync(policyPath());
  expect(await leaseKey(minion, "disk:password")).toBe("deny");
  expect(await status()).toMatchObject({ kind: "broken", problem: expect.stringContaining("is gone") });
});

test("holds, denials, revocations and what was leased survive a restart of the master", async () => {
  writePolicy({ name: "once", require: { once_a_boot: true } });
  const before = await rig(
    place.directory,
    { openPillar: async () => tinyPillar(key) },
    {
      auto_accept: true,
      release_policy: policyPath(),
    },
  );
  const minion = startMinion(portsOf(before), { id: "web1", fingerprints: [before.master.fingerprint] });
  await minion.connection.ready(AbortSignal.timeout(60_000));
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(before);
  await before.client.request("POST", "/v1/revocations", { action: "revoke", id: "web2", path: "disk:password" });
  await minion.connection.close();
  await before.stop();

  const after = await start();
  expect((await heldNow(after)).holdId).toBe(hold.holdId);
  expect((await holdList(after)).revocations).toMatchObject([{ id: "web2", path: "disk:password" }]);
  const again = await place.connect(portsOf(after), {
    id: "web1",
    fingerprints: [after.master.fingerprint],
    identity: minion.identity,
  });
  expect(await leaseKey(again, "disk:password")).toBe("hold");
  const explained = await after.client.request<Explained>("POST", "/v1/policy/explain", {
    id: "web1",
    path: "disk:password",
    purpose: "open",
    newBoot: true,
  });
  expect(explained).toMatchObject({ verdict: "allow", rule: "once", facts: { everLeased: true, newBoot: true } });
});
