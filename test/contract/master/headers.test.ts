import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { LatchkeyError } from "../../../src/core/errors.ts";
import { sha256 } from "../../../src/core/crypto/hash.ts";
import type { IdentityDropped, IdentityFacts, LintReport, RekeyReport } from "../../../src/core/secrets-api.ts";
import type { HeaderList, HeaderProof } from "../../../src/core/volume-header.ts";
import { createHost } from "../../../src/minion/host.ts";
import { createLink } from "../../../src/minion/link.ts";
import { escrowHeader, fetchHeader, listHeaders } from "../../../src/minion/volume/header.ts";
import type { VolumeContext } from "../../../src/minion/volume/runner.ts";
import { readHeaderClaim } from "../../../src/states/devices/luks-layout.ts";
import { VOLUME_STEPS } from "../../../src/core/volume-steps.ts";
import { decodeStored, recordEntries } from "../../../src/master/audit/stored.ts";
import type { MasterConfig } from "../../../src/master/config.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import { StateRun } from "../../kernel/support/state-run.ts";
import { volumeContext, volumeOf } from "../../kernel/support/volume-context.ts";
import { startMinion, type TestMinion } from "../wire/pair.ts";
import { leaseKey, portsOf, type Rig, rig, scratch } from "./rig.ts";
import { lacks } from "../../tools.ts";

const PATH = "volumes:data:luks:key";
const PBKDF2 = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
let image: string;

beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
  image = join(directory, "image");
  const pillar = `volumes:\n  data:\n    disk: ${image}\n    luks:\n      key: !generate\n`;
  for (const id of ["web1", "web2"]) writeFileSync(join(directory, `pillar/hosts/${id}.yaml`), pillar);
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

async function up(more: Partial<MasterConfig> = {}): Promise<Rig> {
  const one = await rig(directory, {}, { auto_accept: true, ...more });
  ending.push(async () => one.stop());
  return one;
}

async function connect(one: Rig, id = "web1"): Promise<TestMinion> {
  const minion = startMinion(portsOf(one), { id, fingerprints: [one.master.fingerprint] });
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  return minion;
}

function cryptsetup(keys: readonly Buffer[], ...argv: readonly string[]): void {
  execFileSync("cryptsetup", argv, { input: Buffer.concat(keys), stdio: ["pipe", "ignore", "ignore"] });
}

/** An image with a header that the master's own key opens; headers need no device-mapper. */
async function format(minion: TestMinion): Promise<Buffer> {
  const key = await leaseKey(minion, PATH, "format");
  if (typeof key === "string") throw new Error(key);
  writeFileSync(image, "");
  truncateSync(image, 8 * 1024 * 1024);
  const fixed = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-file=-", "--keyfile-size=32"];
  cryptsetup([key], "luksFormat", ...fixed, ...PBKDF2, image);
  return key;
}

function addSlot(key: Buffer): void {
  const sizes = ["--keyfile-size=32", "--new-keyfile=-", "--new-keyfile-size=16"];
  cryptsetup([key, randomBytes(16)], "luksAddKey", "--key-file=-", ...sizes, ...PBKDF2, image);
}

function contextOf({ connection, identity }: TestMinion): { readonly context: VolumeContext; readonly run: StateRun } {
  const run = new StateRun(createHost(), directory);
  const link = createLink(connection, systemClock, () => 0.5);
  const volume = volumeOf("data", { disk: image, luks: { key: `secret:${PATH}` } });
  return { run, context: volumeContext(run, volume, directory, { master: { link, identity, bootId: "b" } }) };
}

const headersOf = async ({ client }: Rig) => (await client.request<HeaderList>("GET", "/v1/headers")).headers;
const prove = async ({ client }: Rig, id = "web1") =>
  client.request<HeaderProof>("POST", "/v1/headers/prove", { id, volume: "data" });

describe.skipIf(lacks("cryptsetup"))("headers that cryptsetup made", () => {
  test("two backups of one header at the same time: both end well, and one version is kept", async () => {
    const one = await up();
    const minion = await connect(one);
    (await format(minion)).fill(0);
    const { context } = contextOf(minion);
    const both = await Promise.allSettled([escrowHeader(context, "check"), escrowHeader(context, "provision")]);
    expect(both).toMatchObject([
      { status: "fulfilled", value: { version: 1, isNew: true } },
      { status: "fulfilled", value: { version: 1, isNew: false } },
    ]);
    expect(await headersOf(one)).toHaveLength(1);
  });

  test("a header goes into escrow: every step, encrypted, recorded, proven by the master alone, and back as it was", async () => {
    const one = await up();
    const minion = await connect(one);
    await format(minion);
    const { context, run } = contextOf(minion);
    const escrowed = await escrowHeader(context, "provision");
    expect(escrowed).toMatchObject({ version: 1, isNew: true });
    expect(run.steps).toEqual([...VOLUME_STEPS.header]);

    const [entry, ...others] = await headersOf(one);
    expect(others).toEqual([]);
    expect(entry).toMatchObject({ id: "web1", volume: "data", version: 1, bytes: 1_081_344, reason: "provision" });
    expect(entry?.slots).toMatchObject([{ slot: 0, kdf: "pbkdf2", trusted: true }]);
    expect(await prove(one)).toMatchObject({ header: 1, digest: escrowed.digest, version: 1 });

    const [listed] = await listHeaders(context);
    if (!listed) throw new Error("nothing listed");
    const bytes = await fetchHeader(context, listed);
    expect(bytes.equals(readFileSync(image).subarray(0, bytes.length))).toBe(true);

    await one.stop();
    const store = new SqliteStore(join(directory, "state/store.db"));
    const kinds = [];
    for await (const found of recordEntries(store)) kinds.push((decodeStored(found) as { readonly kind: string }).kind);
    expect(kinds).toEqual(expect.arrayContaining(["header-escrowed", "header-released"]));
    await store.close();
    // encrypted: neither the UUID in the header nor its keyslot is on the master's disk in plain
    const disk = Buffer.concat(["store.db", "store.db-wal"].map((name) => readIfThere(join(directory, "state", name))));
    expect(disk.includes(bytes.subarray(0x8000, 0x8040))).toBe(false);
    expect(disk.includes(bytes.subarray(0, 0x200))).toBe(false);
  });

  function readIfThere(path: string): Buffer {
    try {
      return readFileSync(path);
    } catch {
      return Buffer.alloc(0);
    }
  }

  test("the same header is kept once; a changed one is another version; slots that nobody vouched for are told apart", async () => {
    const one = await up();
    const minion = await connect(one);
    const key = await format(minion);
    const { context } = contextOf(minion);
    await escrowHeader(context, "provision");
    expect(await escrowHeader(context, "check")).toMatchObject({ version: 1, isNew: false });
    const first = readFileSync(image);
    addSlot(key);
    expect(await escrowHeader(context, "rotate")).toMatchObject({ version: 2, isNew: true });
    expect((await headersOf(one))[0]?.slots).toMatchObject([{ trusted: true }, { slot: 1, trusted: false }]);
    // back to the first: known, and the newest again
    writeFileSync(image, first);
    expect(await escrowHeader(context, "restore")).toMatchObject({ version: 1, isNew: false });
    expect((await headersOf(one)).map(({ version }) => version)).toEqual([1, 2]);
    addSlot(key);
    await escrowHeader(context, "add-recovery");
    expect((await headersOf(one))[0]?.slots).toMatchObject([{ trusted: true }, { slot: 1, trusted: true }]);
  });

  test("lesson: clevis no header backup is left in a temporary directory, also when the master does not take it", async () => {
    const one = await up();
    const minion = await connect(one);
    await format(minion);
    const { context } = contextOf(minion);
    const { host } = context;
    const files: string[] = [];
    const noting: typeof host = {
      ...host,
      run: async (argv, options) => {
        files.push(...argv.flatMap((word) => /^--header-backup-file=(.+)$/u.exec(word)?.[1] ?? []));
        return host.run(argv, options);
      },
    };
    const left: string[] = [];
    // the tmpfs is everybody's on this machine: only the files of this backup are looked for, at each step
    const watching: VolumeContext = {
      ...context,
      host: noting,
      reached: () => left.push(...files.filter((file) => existsSync(file))),
      at: () => watching,
    };
    await escrowHeader(watching, "provision");
    writeFileSync(join(directory, "pillar/hosts/web1.yaml"), "volumes: {}\n");
    cryptsetup([], "config", "--label=other", image);
    await expect(escrowHeader(watching, "check")).rejects.toBeInstanceOf(LatchkeyError);
    expect(files).toHaveLength(2);
    expect([...left, ...files.filter((file) => existsSync(file))]).toEqual([]);
  });

  test("a header that no stored key opens is kept and told so", async () => {
    const one = await up();
    const minion = await connect(one);
    const key = await format(minion);
    const { context } = contextOf(minion);
    addSlot(key);
    cryptsetup([], "luksKillSlot", "--batch-mode", image, "0");
    await escrowHeader(context, "check");
    expect(await prove(one)).toMatchObject({ header: 1, version: 0 });
  });

  test("lesson: 2025-62349 a host gets and gives only headers of its own, of volumes that its pillar declares", async () => {
    const one = await up();
    const [first, second] = [await connect(one), await connect(one, "web2")];
    await format(first);
    const mine = contextOf(first).context;
    await escrowHeader(mine, "provision");
    const theirs = contextOf(second).context;
    expect(await listHeaders(theirs)).toEqual([]);
    const asked = second.connection.request("header.get", { volume: "data", version: 1, offset: 0 });
    expect(await asked).toMatchObject({ found: false });
    const [header] = await listHeaders(mine);
    if (!header) throw new Error("nothing listed");
    const { version: _version, at: _at, proven: _proven, ...facts } = header;
    const offer = (changed: object) =>
      second.connection.request("header.offer", { facts: { ...facts, ...changed } }, { timeoutMs: 5000 });
    await expect(offer({ volume: "other" })).rejects.toBeInstanceOf(LatchkeyError);
    const offered = await first.connection.request("header.offer", {
      facts: { ...facts, digest: sha256(Buffer.from("x")).toString("hex") },
    });
    if (offered.verdict !== "send") throw new Error("known");
    const stolen = second.connection.request("header.chunk", {
      upload: offered.upload,
      offset: 0,
      data: Buffer.from("x"),
    });
    await expect(stolen).rejects.toBeInstanceOf(LatchkeyError);
  });

  test("what is not the header that was announced is not kept: cut off, out of place, changed, or no header at all", async () => {
    const one = await up();
    const minion = await connect(one);
    await format(minion);
    const { context } = contextOf(minion);
    await escrowHeader(context, "provision");
    const [header] = await listHeaders(context);
    if (!header) throw new Error("nothing listed");
    const { version: _version, at: _at, proven: _proven, ...facts } = header;
    const { connection } = minion;
    const noise = randomBytes(4096);
    const announced = { ...facts, bytes: noise.length, digest: sha256(noise).toString("hex") };
    const begin = async () => {
      const offered = await connection.request("header.offer", { facts: announced });
      if (offered.verdict !== "send") throw new Error("known");
      return offered.upload;
    };
    const cutOff = await begin();
    await expect(connection.request("header.store", { upload: cutOff })).rejects.toBeInstanceOf(LatchkeyError);
    const outOfPlace = await begin();
    const late = { upload: outOfPlace, offset: 1, data: noise.subarray(1) };
    await expect(connection.request("header.chunk", late)).rejects.toBeInstanceOf(LatchkeyError);
    const changed = await begin();
    await connection.request("header.chunk", { upload: changed, offset: 0, data: randomBytes(4096) });
    await expect(connection.request("header.store", { upload: changed })).rejects.toBeInstanceOf(LatchkeyError);
    const none = await begin();
    await connection.request("header.chunk", { upload: none, offset: 0, data: noise });
    await expect(connection.request("header.store", { upload: none })).rejects.toBeInstanceOf(LatchkeyError);
    const tooBig = { ...facts, bytes: 21 * 1024 * 1024, digest: sha256(Buffer.from("big")).toString("hex") };
    await expect(connection.request("header.offer", { facts: tooBig }, { timeoutMs: 2000 })).rejects.toBeInstanceOf(
      LatchkeyError,
    );
    expect(await headersOf(one)).toHaveLength(1);
  });

  test("rekey encrypts headers in escrow anew when the recipients changed, counts them, and lint tells of them until then", async () => {
    const one = await up();
    const minion = await connect(one);
    await format(minion);
    const { digest } = await escrowHeader(contextOf(minion).context, "provision");
    await minion.connection.close();
    await one.stop();

    const { recipient } = parseAgeIdentityFile(generateAgeIdentityFile("now"), "new");
    const again = await up({ recovery_recipients: [recipient] });
    const { client } = again;
    const overdue = async () =>
      (await client.request<LintReport>("GET", "/v1/lint")).findings.filter(({ message }) =>
        message.includes("in escrow"),
      );
    expect(await overdue()).toMatchObject([{ kind: "missing-recipient", id: "web1" }]);
    const report = await client.request<RekeyReport>("POST", "/v1/rekey");
    expect(report).toMatchObject({ already: 0, failed: [] });
    expect(report.rekeyed).toEqual([expect.stringMatching(/^secret\/web1/u), "header 1 of web1/data"]);
    expect(await overdue()).toEqual([]);
    expect(await client.request<RekeyReport>("POST", "/v1/rekey")).toMatchObject({ rekeyed: [], already: 2 });
    expect(await prove(again)).toMatchObject({ header: 1, digest, version: 1 });
  });

  test("I3: an identity that was replaced is destroyed only when no header in escrow and no key needs it", async () => {
    const one = await up();
    const minion = await connect(one);
    const key = await format(minion);
    const { digest } = await escrowHeader(contextOf(minion).context, "provision");
    const identity = async () => one.client.request<IdentityFacts>("GET", "/v1/identity");
    const before = await identity();
    expect(before.older).toEqual([]);
    expect(await one.client.request<IdentityFacts>("POST", "/v1/identity", {})).toMatchObject({
      older: [before.recipient],
    });
    const drop = async () => one.client.request<IdentityDropped>("POST", "/v1/identity/drop", {});
    await expect(drop()).rejects.toThrow(/needed by secret\/web1\/.*, and 1 more/u);
    expect(await leaseKey(minion, PATH, "open", "b", await readHeaderClaim(createHost(), image))).toEqual(key);
    expect(await prove(one)).toMatchObject({ header: 1, digest });
    const report = await one.client.request<RekeyReport>("POST", "/v1/rekey");
    expect(report).toMatchObject({ failed: [], rekeyed: [expect.any(String), "header 1 of web1/data"] });
    expect(await drop()).toEqual({ dropped: [before.recipient] });
    expect(await leaseKey(minion, PATH, "open", "b", await readHeaderClaim(createHost(), image))).toEqual(key);
    expect(await prove(one)).toMatchObject({ header: 1, digest });
    await minion.connection.close();
    await one.stop();
    const again = await up();
    expect(await prove(again)).toMatchObject({ header: 1, digest });
    const { older, recipient } = await again.client.request<IdentityFacts>("GET", "/v1/identity");
    expect(older).toEqual([]);
    expect(recipient).not.toBe(before.recipient);
  });

  test("beyond twenty the oldest go, but never the newest header of a key version that is stored", async () => {
    const one = await up();
    const minion = await connect(one);
    await format(minion);
    const { context } = contextOf(minion);
    await escrowHeader(context, "provision");
    for (let count = 0; count < 22; count += 1) {
      cryptsetup([], "config", `--label=n${count}`, image);
      await escrowHeader(context, "check");
    }
    await expect.poll(async () => (await headersOf(one)).length, { timeout: 10_000 }).toBe(20);
    expect((await headersOf(one))[0]).toMatchObject({ version: 23 });
  }, 60_000);
});
