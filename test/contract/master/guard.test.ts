import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import { encryptAge } from "../../../src/core/age.ts";
import type { KeyList, PillarSource, PillarUpdated } from "../../../src/core/control-api.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { RecipientList } from "../../../src/core/secrets-api.ts";
import type { VolumeReport } from "../../../src/core/volume-report.ts";
import { startMinion, type TestMinion } from "../wire/pair.ts";
import { leaseKey, portsOf, type Rig, rig, scratch } from "./rig.ts";

const KEY_PATH = "volumes:data:luks:key";
const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
const PILLAR = "volumes:\n  data:\n    disk: /dev/vdb\n    luks:\n      key: !generate\n";
const REFUSAL =
  "no verified copy of the key of volume web1/data would remain: restore the key or use --force to skip this safeguard";
const SENTENCE = { code: "key-not-kept", message: REFUSAL, httpStatus: 422 };

let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(hostFile(), PILLAR);
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

const hostFile = () => join(directory, "pillar/hosts/web1.yaml");
const report = (more: Partial<VolumeReport> = {}): VolumeReport => ({
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
  ...more,
});

/** A master, and a host of it whose volume was formatted with a generated key and reported so. */
async function start(reports: readonly VolumeReport[] = [report()]): Promise<{ one: Rig; minion: TestMinion }> {
  const one = await rig(directory, {}, { auto_accept: true });
  ending.push(async () => one.stop());
  const minion = startMinion(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  expect(await leaseKey(minion, KEY_PATH, "format")).toBeInstanceOf(Buffer);
  await minion.connection.request("volume.report", { reports: [...reports] });
  return { one, minion };
}

async function forcedIn({ client }: Rig): Promise<readonly JsonObject[]> {
  const records: JsonObject[] = [];
  for await (const { data } of client.stream<AuditRecord>("GET", "/v1/audit?kind=guard-forced&limit=50")) {
    records.push(data);
  }
  return records;
}
const forced = (what: string, why: string) => [{ what, user: userInfo().username, volumes: [{ volume: "data", why }] }];

async function edit({ client }: Rig, text: string, force?: true): Promise<PillarUpdated> {
  const { revision } = await client.request<PillarSource>("GET", "/v1/pillar/web1/source");
  const body = { revision, text, ...(force ? { force } : {}) };
  return client.request<PillarUpdated>("PUT", "/v1/pillar/web1/source", body);
}
async function set({ client }: Rig, value: Buffer | string, force?: true) {
  const { recipients } = await client.request<RecipientList>("GET", "/v1/recipients");
  const armored = await encryptAge(Buffer.from(value), recipients);
  return client.request("PUT", "/v1/secrets/web1", { path: KEY_PATH, armored, ...(force ? { force } : {}) });
}
const deleteKeys = async ({ client }: Rig, force?: true) =>
  client.request<KeyList>("POST", "/v1/keys", {
    action: "delete",
    match: "web1",
    dryRun: false,
    ...(force ? { force } : {}),
  });
const reboot = async (one: Rig, force?: true) =>
  one.client.request("POST", "/v1/reboots", {
    statement: {
      what: "reboot",
      master: one.master.fingerprint,
      targetKind: "glob",
      target: "web*",
      windowMs: 60_000,
      operator: "root",
      expires: Date.now() + 60_000,
      nonce: randomBytes(16).toString("hex"),
    },
    ...(force ? { force } : {}),
  });

test("I3: a pillar edit that drops the volume or its key is refused, with force it is saved and on record", async () => {
  const { one } = await start();
  const without = "volumes:\n  data:\n    disk: /dev/vdb\n";
  await expect(edit(one, "x: 1\n")).rejects.toMatchObject(SENTENCE);
  await expect(edit(one, without)).rejects.toMatchObject({
    ...SENTENCE,
    hint: "the pillar would not declare it with a key any more; try `latchkey volume unprovision web1/data`",
  });
  expect(readFileSync(hostFile(), "utf8")).toBe(PILLAR);
  expect(await forcedIn(one)).toEqual([]);
  expect(await edit(one, `${PILLAR}x: 1\n`)).toMatchObject({ changedSecrets: [] });
  await edit(one, without, true);
  expect(readFileSync(hostFile(), "utf8")).toBe(without);
  expect(await forcedIn(one)).toEqual(forced("pillar edit", "the pillar would not declare it with a key any more"));
});

test("I3: a value that was never seen to open the volume does not take the place of one that was", async () => {
  const { one, minion } = await start();
  const key = await leaseKey(minion, KEY_PATH);
  await expect(set(one, "another")).rejects.toMatchObject(SENTENCE);
  expect(readFileSync(hostFile(), "utf8")).toBe(PILLAR);
  expect(await leaseKey(minion, KEY_PATH)).toEqual(key);
  // the very same bytes are no loss, in the pillar as in the store
  await set(one, key);
  await one.client.request("POST", "/v1/secrets/web1/import", { path: KEY_PATH });
  expect(await leaseKey(minion, KEY_PATH)).toEqual(key);
  expect(await forcedIn(one)).toEqual([]);
  await set(one, "another", true);
  expect(await leaseKey(minion, KEY_PATH)).toEqual(Buffer.from("another"));
  expect(await forcedIn(one)).toEqual(forced("secret set", "this value was never seen to open it"));
});

test("a key that is known not to open its volume may be replaced: that is how it is restored", async () => {
  const bad = { code: "key-does-not-open", text: "the stored key does not open this volume", fatal: true };
  const { one } = await start([report({ problems: [bad] })]);
  await set(one, "the right one");
  expect(await forcedIn(one)).toEqual([]);
});

test("the key of a host with provisioned volumes is not deleted, and it keeps its session", async () => {
  const { one, minion } = await start();
  await expect(deleteKeys(one)).rejects.toMatchObject(SENTENCE);
  expect(await leaseKey(minion, KEY_PATH)).toBeInstanceOf(Buffer);
  await expect(deleteKeys(one, true)).resolves.toMatchObject({ keys: [{ id: "web1" }] });
  expect(await forcedIn(one)).toEqual(forced("keys delete", "without its minion key the host can lease none"));
});

test("a host goes without questions when nothing of it is provisioned", async () => {
  const { one } = await start([report({ state: "not-provisioned", luksUuid: "" })]);
  await reboot(one);
  await edit(one, "x: 1\n");
  await deleteKeys(one);
  expect(await forcedIn(one)).toEqual([]);
});

test("I3: a reboot is refused while a volume is up whose current key was not seen to open it", async () => {
  const { one, minion } = await start();
  await reboot(one);
  await minion.connection.request("volume.report", {
    reports: [report({ at: 2000, luksUuid: UUID.replace("0", "1"), proven: { version: 0, at: 0 } })],
  });
  await expect(reboot(one)).rejects.toMatchObject({
    ...SENTENCE,
    hint: "no stored key was ever seen to open it; try `latchkey volume check web1/data`",
  });
  await reboot(one, true);
  expect(await forcedIn(one)).toEqual(forced("reboot", "no stored key was ever seen to open it"));
});

test("two forced edits at once: one is saved, and each that was let pass is on record", async () => {
  const { one } = await start();
  const records = await Promise.all(
    [edit(one, "x: 1\n", true), edit(one, "x: 2\n", true)].map(async (each) => each.catch((error: unknown) => error)),
  );
  // two at once: one of them is saved, and each that was let pass is on record
  expect(records.filter((result) => !(result instanceof Error))).toHaveLength(1);
  expect((await forcedIn(one)).length).toBeGreaterThanOrEqual(1);
});
