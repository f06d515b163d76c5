import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { quoteYaml } from "../../../src/pillar/edit-text.ts";
import type {
  LintReport,
  RecipientList,
  RekeyReport,
  SecretChanged,
  SecretHistory,
  SecretImported,
  SecretList,
  SecretShown,
} from "../../../src/core/secrets-api.ts";
import type { MasterConfig } from "../../../src/master/config.ts";
import { decodeStored, recordEntries } from "../../../src/master/audit/stored.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import { leaseKey, portsOf, type Rig, rig, scratch } from "../master/rig.ts";
import { startMinion } from "../wire/pair.ts";
import { lacks } from "../../tools.ts";

let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

const hostFile = () => join(directory, "pillar/hosts/web1.yaml");
const onDisk = () => readFileSync(hostFile(), "utf8");

function recoveryKey(name: string) {
  const file = generateAgeIdentityFile("now");
  const path = join(directory, name);
  writeFileSync(path, file.expose(), { mode: 0o600 });
  return { path, recipient: parseAgeIdentityFile(file, path).recipient };
}

async function up(more: Partial<MasterConfig> = {}): Promise<Rig> {
  const one = await rig(directory, {}, { auto_accept: true, allow_secret_show: true, ...more });
  ending.push(async () => one.stop());
  return one;
}
async function connect(one: Rig) {
  const minion = startMinion(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  return minion;
}
async function set(one: Rig, path: string, value: string | Buffer) {
  const { recipients } = await one.client.request<RecipientList>("GET", "/v1/recipients");
  const armored = await encryptAge(Buffer.from(value), recipients);
  return one.client.request<SecretChanged>("PUT", "/v1/secrets/web1", { path, armored });
}
const show = async (one: Rig, path: string, version?: number) =>
  Buffer.from(
    (await one.client.request<SecretShown>("POST", "/v1/secrets/web1/show", { path, version })).value,
    "base64",
  ).toString();
const history = async (one: Rig, path: string) =>
  (await one.client.request<SecretHistory>("GET", `/v1/secrets/web1/history?path=${path}`)).versions;
const lint = async (one: Rig) =>
  (await one.client.request<LintReport>("GET", "/v1/lint")).findings.map(({ kind, id }) => `${kind} ${id}`.trim());
/** The audit log of a master, once it has stopped: it has its store for itself. */
async function actsOf(one: Rig): Promise<readonly unknown[]> {
  await one.stop();
  const store = new SqliteStore(join(directory, "state/store.db"));
  try {
    return await Array.fromAsync(recordEntries(store), (entry) => decodeStored(entry));
  } finally {
    await store.close();
  }
}

test("set needs no private key: beside a secret that nobody here can open, in a file it leaves alone otherwise", async () => {
  const one = await up();
  const foreign = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test").recipient;
  const armored = await encryptAge(Buffer.from("not ours"), [foreign]);
  writeFileSync(hostFile(), `# mine\nother: !secret ${quoteYaml(armored)}\nvg: data\n`);
  const before = onDisk();
  expect(await set(one, "password", "hunter2")).toEqual({ file: "hosts/web1.yaml", warnings: [] });
  expect(onDisk().startsWith(before)).toBe(true);
  expect(await show(one, "password")).toBe("hunter2");
  expect(await set(one, "other", "ours now")).toMatchObject({ warnings: [] });
  // what stood there is kept as it was
  expect(await history(one, "other")).toMatchObject([{ version: 1, origin: "sealed", recipients: 1 }]);
  await expect(set(one, "vg:deep", "x")).rejects.toMatchObject({ code: "not-placed" });
});

test("a value for too few recipients is refused", async () => {
  const one = await up({ recovery_recipients: [recoveryKey("recovery.key").recipient] });
  const { recipients } = await one.client.request<RecipientList>("GET", "/v1/recipients");
  const armored = await encryptAge(Buffer.from("x"), recipients.slice(0, 1));
  await expect(one.client.request("PUT", "/v1/secrets/web1", { path: "p", armored })).rejects.toMatchObject({
    code: "wrong-recipients",
  });
});

test("I4, I5: a value is shown only when that is on record, and the record holds no value", async () => {
  let failing = false;
  class FailingStore extends SqliteStore {
    override async write(...args: Parameters<SqliteStore["write"]>) {
      if (failing) throw new Error("disk full");
      return super.write(...args);
    }
  }
  const one = await rig(directory, { openStore: (path) => new FailingStore(path) }, { allow_secret_show: true });
  ending.push(async () => one.stop());
  await set(one, "password", "hunter2");
  failing = true;
  await expect(show(one, "password")).rejects.toThrow("disk full");
  failing = false;
  expect(await show(one, "password")).toBe("hunter2");
  const records = await actsOf(one);
  expect(records).toContainEqual(
    expect.objectContaining({
      kind: "secret-shown",
      actor: "root",
      subject: "web1",
      data: { secrets: ["password"], file: "", version: null, user: userInfo().username },
    }),
  );
  expect(records).toContainEqual(expect.objectContaining({ kind: "secret-set", subject: "web1" }));
  expect(JSON.stringify(records)).not.toContain("hunter2");
});

test("without its permission, as a master is by itself, nothing is shown, and the refusal is on record", async () => {
  const one = await rig(directory);
  ending.push(async () => one.stop());
  await set(one, "password", "hunter2");
  await expect(show(one, "password")).rejects.toMatchObject({
    code: "show-not-allowed",
    exitStatus: 5,
    hint: expect.stringContaining("allow_secret_show: true"),
  });
  expect(await actsOf(one)).toContainEqual(expect.objectContaining({ kind: "secret-show-denied", subject: "web1" }));
});

test("pillar edit opens what a host's own file holds, on record, and ciphertext where that is not permitted", async () => {
  const source = async ({ client }: Rig) =>
    (await client.request<{ readonly text: string }>("GET", "/v1/pillar/web1/source")).text;
  const one = await rig(directory);
  await set(one, "password", "hunter2");
  expect(await source(one)).toContain("hunter2");
  expect(await actsOf(one)).toContainEqual(expect.objectContaining({ kind: "secret-shown", subject: "web1" }));
  await one.stop();
  const other = await rig(directory, {}, { allow_secret_edit: false });
  ending.push(async () => other.stop());
  expect(await source(other)).toBe(onDisk());
});

test("I1, I3: import leaves the disk's key as it is, byte for byte, before and after a restart", async () => {
  const one = await up();
  const value = Buffer.from([0, 10, 255, 13, 10]);
  await set(one, "disk:password", value);
  const minion = await connect(one);
  expect(await leaseKey(minion, "disk:password", "format")).toEqual(value);
  const imported = await one.client.request<SecretImported>("POST", "/v1/secrets/web1/import", {
    path: "disk:password",
  });
  expect(imported).toMatchObject({ file: "hosts/web1.yaml", warnings: [] });
  expect(onDisk()).toBe("disk:\n  password: !generate\n");
  expect(await leaseKey(minion, "disk:password", "open")).toEqual(value);
  expect(await leaseKey(minion, "disk:password", "format")).toEqual(value);
  const versions = await history(one, "disk:password");
  expect(versions.map(({ origin, current }) => [origin, current])).toEqual([
    ["escrow", false],
    ["imported", true],
  ]);
  await expect(one.client.request("POST", "/v1/secrets/web1/import", { path: "disk:password" })).rejects.toMatchObject({
    code: "no-such-secret",
  });
});

test("list tells kind, versions and what uses a secret; lint what is wrong", async () => {
  writeFileSync(join(directory, "states/top.sls"), "base:\n  '*':\n    - luks\n");
  writeFileSync(
    join(directory, "states/luks.sls"),
    "data:\n  luks.opened:\n    - device: /dev/vg/data\n    - key: {{pillar.password}}\n",
  );
  const one = await up();
  await connect(one);
  expect(await lint(one)).toEqual(["host-without-pillar web1"]);
  await set(one, "password", "hunter2");
  expect(await lint(one)).toEqual([]);
  writeFileSync(hostFile(), `${onDisk()}unused: !generate\napi_token: abc\n`);
  await set(one, "gone", "x");
  await set(one, "gone", "y");
  writeFileSync(hostFile(), onDisk().replace(/^gone: .*\n/mu, ""));
  const { secrets } = await one.client.request<SecretList>("GET", "/v1/secrets?host=web1");
  expect(secrets).toMatchObject([
    { path: "gone", kind: "kept", versions: 1, usedBy: [] },
    { path: "password", kind: "secret", file: "hosts/web1.yaml", line: 1, usedBy: ["luks.opened data"] },
    { path: "unused", kind: "generate", versions: 0, usedBy: [] },
  ]);
  expect(await lint(one)).toEqual(["unused-secret web1", "plain-key-material web1"]);
  writeFileSync(hostFile(), "volumes:\n  data:\n    dsk: /dev/vdb\n");
  expect(await lint(one)).toEqual(["broken-pillar web1"]);
  writeFileSync(hostFile(), "a: [\n");
  expect(await lint(one)).toEqual(["broken-pillar web1"]);
});

describe.skipIf(lacks("age"))("rekey", () => {
  const opened = (identity: string, armored: string) => {
    const { status, stdout } = spawnSync("age", ["-d", "-i", identity], { input: armored });
    return status === 0 ? stdout.toString() : undefined;
  };

  test("I3: everything opens with the new recovery identity and the master's, and no more with the old one", async () => {
    const [older, newer] = [recoveryKey("old.key"), recoveryKey("new.key")];
    const first = await rig(directory, {}, { auto_accept: true, recovery_recipients: [older.recipient] });
    await set(first, "password", "hunter2");
    const minion = startMinion(portsOf(first), { id: "web1", fingerprints: [first.master.fingerprint] });
    await minion.connection.ready(AbortSignal.timeout(60_000));
    expect(await leaseKey(minion, "password")).toEqual(Buffer.from("hunter2"));
    await minion.connection.close();
    await first.stop();
    const template = join(directory, "pillar/all.sls");
    const shared = onDisk().slice("password: ".length);
    writeFileSync(template, `{{#if grains.none}}\nshared: ${shared}{{/if}}\n`);
    chmodSync(template, 0o640);

    const one = await up({ recovery_recipients: [newer.recipient] });
    expect(await lint(one)).toContain("missing-recipient web1");
    const report = await one.client.request<RekeyReport>("POST", "/v1/rekey");
    expect(report).toMatchObject({ resumed: false, already: 0, failed: [] });
    expect(report.rekeyed).toEqual(["secret/web1/password/000001", template, hostFile()]);
    expect(await lint(one)).not.toContain("missing-recipient web1");
    expect(await one.client.request<RekeyReport>("POST", "/v1/rekey")).toMatchObject({ rekeyed: [], already: 3 });
    expect(await show(one, "password")).toBe("hunter2");
    expect(await show(one, "password", 1)).toBe("hunter2");
    expect(execFileSync("stat", ["-c", "%a", template]).toString()).toBe("640\n");
    for (const file of [template, hostFile()]) {
      const text = JSON.parse(/"-----BEGIN.*"/u.exec(readFileSync(file, "utf8"))?.[0] ?? '""') as string;
      expect(opened(newer.path, text)).toBe("hunter2");
      expect(opened(join(directory, "state/age.key"), text)).toBe("hunter2");
      expect(opened(older.path, text)).toBe(undefined);
    }
  });

  test("what cannot be opened stays as it is and is named", async () => {
    const one = await up();
    const foreign = recoveryKey("foreign.key");
    const armored = await encryptAge(Buffer.from("x"), [foreign.recipient]);
    writeFileSync(hostFile(), `a: !secret ${quoteYaml(armored)}\n`);
    const before = onDisk();
    const report = await one.client.request<RekeyReport>("POST", "/v1/rekey");
    expect(report.failed).toMatchObject([
      { name: hostFile(), reason: expect.stringContaining("not encrypted to this") },
    ]);
    expect(onDisk()).toBe(before);
    expect(await lint(one)).toContain("missing-recipient");
  });
});
