import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import type { MasterStatus } from "../../../src/core/control-api.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { AuthError, HostError } from "../../../src/core/errors.ts";
import type { EraseAskStatement, EraseStatement } from "../../../src/core/operator-statement.ts";
import type { SigningKey } from "../../../src/core/crypto/ed25519.ts";
import type { ErasureEntry } from "../../../src/core/volume-api.ts";
import type { VolumeReport } from "../../../src/core/volume-report.ts";
import type { MasterOverrides } from "../../../src/master/daemon.ts";
import type { ErasurePoint } from "../../../src/master/volumes/erasures.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import type { Request } from "../../../src/wire/messages.ts";
import { signErased } from "../../../src/wire/erased-signature.ts";
import { startMinion, type TestMinion } from "../wire/pair.ts";
import { addOperator, sign } from "./approving.ts";
import { leaseKey, portsOf, type Rig, rig, scratch } from "./rig.ts";

const KEY_PATH = "volumes:data:luks:key";
const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
let reached: (point: string) => void;
beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  reached = () => {};
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
  const pillar = "volumes:\n  data: { disk: /dev/vdb, luks: { key: !generate } }\n";
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), pillar);
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

async function start(more: MasterOverrides = {}): Promise<Rig> {
  const one = await rig(directory, { reached: (point) => reached(point), ...more }, { auto_accept: true });
  ending.push(async () => one.stop());
  return one;
}
const report: VolumeReport = {
  volume: "data",
  at: 1000,
  state: "up",
  keyPath: KEY_PATH,
  device: "/dev/vdb",
  luksUuid: UUID,
  headerDigest: "",
  slots: [],
  proven: { version: 1, at: 1000 },
  disk: { serial: "", bytes: 0, pvUuids: [] },
  problems: [],
};
async function provision(one: Rig): Promise<{ readonly minion: TestMinion; readonly key: Buffer }> {
  const minion = startMinion(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  const key = await leaseKey(minion, KEY_PATH, "format");
  if (!Buffer.isBuffer(key)) throw new Error(`no key: ${key}`);
  await minion.connection.request("volume.report", { reports: [report] });
  return { minion, key };
}
const PLACE = { id: "web1", volume: "data" };
const askUnsigned = async ({ client }: Rig) => client.request<ErasureEntry>("POST", "/v1/erasures", PLACE);
/** Asks as an operator, by default as one of whom nothing else is seen. */
async function ask(one: Rig, operator = "carol", key?: SigningKey, more: Partial<EraseAskStatement> = {}) {
  const by = key ?? (await addOperator(one, operator));
  const statement: EraseAskStatement = {
    what: "ask-erase",
    master: one.master.fingerprint,
    erasure: randomBytes(16).toString("hex"),
    minion: "web1",
    volume: "data",
    operator,
    expires: Date.now() + 300_000,
    ...more,
  };
  return one.client.request<ErasureEntry>("POST", "/v1/erasures", { ...PLACE, asked: sign(statement, by) });
}
const statementOf = (one: Rig, { erasure }: ErasureEntry, operator: string, more: Partial<EraseStatement> = {}) => ({
  what: "erase" as const,
  master: one.master.fingerprint,
  erasure,
  minion: "web1",
  volume: "data",
  luksUuid: UUID,
  operator,
  expires: Date.now() + 600_000,
  ...more,
});
const approve = async ({ client }: Rig, statement: EraseStatement, by: SigningKey) =>
  client.request<ErasureEntry>("POST", "/v1/erasures/approve", sign(statement, by));
const execute = async ({ client }: Rig, typed = "data", more: { readonly hostGone?: boolean } = {}) =>
  client.request<ErasureEntry>("POST", "/v1/erasures/execute", { id: "web1", volume: "data", typed, ...more });
const RECEIPT = { volume: "data", path: KEY_PATH, device: "/dev/vdb", luksUuid: UUID, killed: [0] };
/** The host's signed word that its keyslots are dead. */
async function keyslotsErased(
  { connection, identity }: TestMinion,
  change: (signed: Request<"volume.erased">) => Request<"volume.erased"> = (signed) => signed,
) {
  await connection.ready(AbortSignal.timeout(60_000));
  await connection.request("volume.erased", change(signErased(RECEIPT, identity, connection.handshakeHash)));
}
const KEPT = { code: "keyslots-not-erased" };
async function approved(one: Rig): Promise<void> {
  const [ann, bob] = [await addOperator(one, "ann"), await addOperator(one, "bob")];
  const asked = await ask(one);
  await approve(one, statementOf(one, asked, "ann"), ann);
  expect(await approve(one, statementOf(one, asked, "bob"), bob)).toMatchObject({ approvals: ["ann", "bob"] });
}
/** Everything that the files of the state directory hold. */
const bytesOnDisk = () =>
  Buffer.concat(
    readdirSync(join(directory, "state"))
      .filter((name) => name.startsWith("store"))
      .map((name) => readFileSync(join(directory, "state", name))),
  );

test("without enough operators a final erase is not even asked for, and the refusal says how to add them", async () => {
  const one = await start();
  await provision(one);
  await expect(askUnsigned(one)).rejects.toMatchObject({
    code: "no-quorum",
    message: "cannot erase for good: it needs 3 registered operators, and there are 0",
    hint: "who asks cannot approve, and erase_approvals others must; add them with `latchkey operator add`",
  });
  const ann = await addOperator(one, "ann");
  await addOperator(one, "bob");
  // of two, one asks
  await expect(ask(one, "ann", ann)).rejects.toMatchObject({ code: "no-quorum" });
  // who has not signed yet hears it before a passphrase is asked for
  await expect(askUnsigned(one)).rejects.toMatchObject({ code: "no-quorum" });
});

test("who asks signs it, for this volume and once, and cannot approve it", async () => {
  const one = await start();
  const { minion } = await provision(one);
  const [ann, bob] = [await addOperator(one, "ann"), await addOperator(one, "bob")];
  await addOperator(one, "carol");
  await expect(askUnsigned(one)).rejects.toMatchObject({ code: "not-signed", hint: "add --operator NAME" });
  const refused = { code: "bad-approval" };
  await expect(ask(one, "ann", bob)).rejects.toMatchObject(refused);
  await expect(ask(one, "ann", ann, { volume: "logs" })).rejects.toMatchObject(refused);
  await expect(ask(one, "ann", ann, { master: "SHA256:other" })).rejects.toMatchObject(refused);
  await expect(ask(one, "ann", ann, { expires: Date.now() + 3_600_000 })).rejects.toMatchObject(refused);
  const asked = await ask(one, "ann", ann);
  expect(asked).toMatchObject({ by: "ann", state: "asked" });
  // while it waits it is the same one, whoever looks
  expect(await askUnsigned(one)).toMatchObject({ erasure: asked.erasure, by: "ann" });
  await expect(approve(one, statementOf(one, asked, "ann"), ann)).rejects.toMatchObject(refused);
  expect(await approve(one, statementOf(one, asked, "bob"), bob)).toMatchObject({ approvals: ["bob"] });
  // formatted anew it is another volume, which the word on the one before does not ask for
  const luksUuid = UUID.replace("0", "1");
  await minion.connection.request("volume.report", { reports: [{ ...report, luksUuid }] });
  await expect(ask(one, "ann", ann, { erasure: asked.erasure })).rejects.toMatchObject(refused);
  expect(await ask(one, "ann", ann)).toMatchObject({ luksUuid, approvals: [] });
});

test("only approvals of this very erasure count, each once, by operators who are registered", async () => {
  const one = await start();
  await provision(one);
  const [ann, bob] = [await addOperator(one, "ann"), await addOperator(one, "bob")];
  const asked = await ask(one);
  const refused = { code: "bad-approval" };
  const bad = async (more: Partial<EraseStatement>, by = ann) =>
    expect(approve(one, statementOf(one, asked, "ann", more), by)).rejects.toMatchObject(refused);
  await bad({ luksUuid: UUID.replace("0", "1") });
  await bad({ erasure: "ab".repeat(16) });
  await bad({ master: "SHA256:other" });
  await bad({ expires: Date.now() - 1 });
  await bad({}, bob);
  await bad({ operator: "eve" });
  await approve(one, statementOf(one, asked, "ann"), ann);
  await approve(one, statementOf(one, asked, "ann"), ann);
  await expect(execute(one)).rejects.toMatchObject({ code: "not-approved" });
  await approve(one, statementOf(one, asked, "bob"), bob);
  await expect(execute(one, "logs")).rejects.toMatchObject({ code: "not-confirmed" });
  await expect(execute(one)).rejects.toMatchObject(KEPT);
  // an operator who goes takes their approval along
  await one.client.request("POST", "/v1/operators", { action: "remove", name: "bob" });
  await expect(execute(one)).rejects.toMatchObject({ code: "not-approved" });
});

test("afterwards nothing in the store opens the volume, and its bytes are gone from the files", async () => {
  const one = await start();
  const { minion, key } = await provision(one);
  await approved(one);
  await keyslotsErased(minion);
  await one.stop();
  const before = new SqliteStore(join(directory, "state/store.db"));
  const [entry] = await before.list("secret/web1/");
  await before.close();
  const armored = (JSON.parse(Buffer.from(entry?.value ?? []).toString()) as { armored: string }).armored;
  const piece = Buffer.from(armored.split("\n")[2] ?? "");
  expect(piece.length).toBeGreaterThan(40);
  expect(bytesOnDisk().includes(piece)).toBe(true);
  const again = await start();
  expect(await execute(again)).toMatchObject({ state: "done" });
  expect(bytesOnDisk().includes(piece)).toBe(false);
  await minion.connection.close();
  const back = startMinion(portsOf(again), {
    id: "web1",
    fingerprints: [again.master.fingerprint],
    identity: minion.identity,
  });
  ending.push(async () => back.connection.close());
  await back.connection.ready(AbortSignal.timeout(60_000));
  expect(await leaseKey(back, KEY_PATH)).toBe("deny");
  // a new format makes another key
  expect(await leaseKey(back, KEY_PATH, "format")).not.toEqual(key);
  // what was approved is used up
  await expect(execute(again)).rejects.toMatchObject({ code: "no-erasure" });
});

test.each<ErasurePoint>(["erasure-decided", "erasure-headers", "erasure-secrets", "erasure-scrubbed"])(
  "cut short at %s, the next start carries it through",
  async (point) => {
    const one = await start();
    const { minion } = await provision(one);
    await approved(one);
    await keyslotsErased(minion);
    reached = (at) => {
      if (at === point) throw new Error("killed");
    };
    await expect(execute(one)).rejects.toThrow("killed");
    reached = () => {};
    await one.stop();
    const again = await start();
    const { erasures } = await again.client.request<{ erasures: readonly ErasureEntry[] }>("GET", "/v1/erasures");
    expect(erasures).toMatchObject([{ state: "done" }]);
    await again.stop();
    const store = new SqliteStore(join(directory, "state/store.db"));
    expect(await store.list("secret/web1/")).toEqual([]);
    await store.close();
  },
);

test("a store that cannot be scrubbed keeps nobody from their keys: the master starts, says so, and ends it later", async () => {
  let isFull = true;
  const openStore = (path: string) => {
    const store = new SqliteStore(path);
    const scrub = store.scrub.bind(store);
    store.scrub = async () => {
      if (isFull) throw new HostError("store-failed", "cannot scrub the store: database or disk is full");
      await scrub();
    };
    return store;
  };
  const one = await start({ openStore });
  const { minion } = await provision(one);
  await approved(one);
  await keyslotsErased(minion);
  await expect(execute(one)).rejects.toMatchObject({ code: "store-failed" });
  await one.stop();
  const again = await start({ openStore });
  const stuck = async () => (await again.client.request<MasterStatus>("GET", "/v1/status")).stuckErasures;
  const reason = "cannot scrub the store: database or disk is full";
  expect(await stuck()).toEqual([{ id: "web1", volume: "data", reason }]);
  await minion.connection.close();
  const back = startMinion(portsOf(again), { id: "web2", fingerprints: [again.master.fingerprint] });
  ending.push(async () => back.connection.close());
  writeFileSync(join(directory, "pillar/hosts/web2.yaml"), "password: !generate\n");
  await back.connection.ready(AbortSignal.timeout(60_000));
  expect(Buffer.isBuffer(await leaseKey(back, "password", "format"))).toBe(true);
  isFull = false;
  expect(await execute(again)).toMatchObject({ state: "done" });
  expect(await stuck()).toEqual([]);
});

test("two who carry it out at once: it is done once, the other hears that nothing waits", async () => {
  const one = await start();
  const { minion } = await provision(one);
  await approved(one);
  await keyslotsErased(minion);
  const results = await Promise.allSettled([execute(one), execute(one)]);
  expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
});

/** Whether the key of the volume is still stored. */
const isStored = async (minion: TestMinion) => Buffer.isBuffer(await leaseKey(minion, KEY_PATH));
async function recorded({ client }: Rig, kind: string): Promise<readonly JsonObject[]> {
  const found: JsonObject[] = [];
  for await (const { data } of client.stream<AuditRecord>("GET", `/v1/audit?kind=${kind}`)) found.push(data);
  return found;
}

test("I3: nothing is destroyed before the host itself has signed, since it was asked for, that its keyslots are dead", async () => {
  const one = await start();
  const { minion } = await provision(one);
  // of an erase from before: the header may have been restored since
  await keyslotsErased(minion);
  await approved(one);
  await expect(execute(one)).rejects.toMatchObject({
    ...KEPT,
    hint: expect.stringContaining("latchkey volume erase web1/data --final") as string,
  });
  const bad = async (change: Parameters<typeof keyslotsErased>[1]) =>
    expect(keyslotsErased(minion, change)).rejects.toBeInstanceOf(AuthError);
  await bad((signed) => ({ ...signed, luksUuid: UUID.replace("0", "1") }));
  await bad((signed) => ({ ...signed, path: "volumes:logs:luks:key" }));
  await bad((signed) => ({ ...signed, signature: Buffer.alloc(64, 1) }));
  await expect(execute(one)).rejects.toMatchObject(KEPT);
  expect(await isStored(minion)).toBe(true);
  await keyslotsErased(minion);
  // somebody brought the header back
  const slot = { slot: 0, kdf: "pbkdf2", priority: "prefer", version: 1 } as const;
  await minion.connection.request("volume.report", { reports: [{ ...report, slots: [slot] }] });
  await expect(execute(one)).rejects.toMatchObject(KEPT);
  await keyslotsErased(minion);
  await minion.connection.request("volume.report", { reports: [report] });
  expect(await execute(one)).toMatchObject({ state: "done" });
  expect(await isStored(minion)).toBe(false);
  expect(await recorded(one, "keyslots-erased")).toMatchObject([RECEIPT, RECEIPT, RECEIPT]);
  expect(await recorded(one, "erase-final")).toMatchObject([{ hostGone: false }]);
});

test("a host that is gone is left out only when that is said, and when it is not there; the audit log has it", async () => {
  const one = await start();
  const { minion } = await provision(one);
  await approved(one);
  const hello = { version: "1", bootId: "b", role: "agent" as const, grains: {}, lastSeq: 0 };
  await minion.connection.request("hello", hello);
  const gone = { hostGone: true };
  await expect(execute(one, "data", gone)).rejects.toMatchObject({ code: "host-not-gone" });
  await minion.connection.close();
  const isConnected = async () => (await one.client.request<MasterStatus>("GET", "/v1/status")).minions[0]?.connected;
  await expect.poll(isConnected, { timeout: 60_000 }).toBe(false);
  await expect(execute(one)).rejects.toMatchObject(KEPT);
  expect(await execute(one, "data", gone)).toMatchObject({ state: "done" });
  expect(await recorded(one, "erase-final")).toMatchObject([{ hostGone: true, approvals: ["ann", "bob"] }]);
});

test("a host that is there and misses the disk cannot erase anything on it either", async () => {
  const one = await start();
  const { minion } = await provision(one);
  await approved(one);
  await minion.connection.request("hello", { version: "1", bootId: "b", role: "agent", grains: {}, lastSeq: 0 });
  const missing = { code: "disk-missing", text: "no disk", fatal: true };
  await minion.connection.request("volume.report", { reports: [{ ...report, problems: [missing] }] });
  expect(await execute(one, "data", { hostGone: true })).toMatchObject({ state: "done" });
});
