import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { recipientSetId } from "../../../../src/core/age-recipients.ts";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../../src/core/age-identity.ts";
import { encryptAge } from "../../../../src/core/age.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { versionKey } from "../../../../src/master/secret-version.ts";
import { openSecrets, type Secrets } from "../../../../src/master/secrets.ts";
import { lintPillar } from "../../../../src/master/secrets/lint.ts";
import { sealStrays, STRAYS } from "../../../../src/master/secrets/seal-strays.ts";
import { secretHistory } from "../../../../src/master/secrets/show.ts";
import { putRecord } from "../../../../src/master/store/record.ts";
import { SqliteStore } from "../../../../src/master/store/sqlite.ts";

const PLAIN = "left-in-plain-by-an-older-master";
const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
let directory: string;
let store: SqliteStore;
let secrets: Secrets;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-strays-"));
  store = new SqliteStore(join(directory, "store.db"));
  secrets = openSecrets({ store, identity, recoveryRecipients: [], clock: systemClock });
  const version = { version: 1, origin: "sealed", createdAt: 1, digest: "", armored: PLAIN, recipients: "" };
  const sealed = await encryptAge(Buffer.from("hunter2"), [identity.recipient]);
  await store.write([putRecord(versionKey("web1", "password", 1), version)]);
  await store.write([putRecord(versionKey("web1", "password", 2), { ...version, version: 2, armored: sealed })]);
});
afterEach(async () => {
  secrets[Symbol.dispose]();
  await store.close();
  rmSync(directory, { recursive: true });
});

const options = () => ({ store, versions: secrets.versions, identity, clock: systemClock });
const onDisk = () => readdirSync(directory).filter((name) => readFileSync(join(directory, name)).includes(PLAIN));

test("plain text among the versions is encrypted, opens to the same value, and is on no page of the store any more", async () => {
  expect(onDisk()).not.toEqual([]);
  const [, before] = await secrets.history("web1", "password");
  expect(await sealStrays(options())).toEqual(['version 1 of "password" of web1']);
  expect(onDisk()).toEqual([]);
  const [stray, other] = await secrets.history("web1", "password");
  using opened = secrets.open(stray?.armored ?? "");
  expect(opened.expose().toString()).toBe(PLAIN);
  expect(stray).toMatchObject({ origin: "sealed", recipients: recipientSetId([identity.recipient]) });
  expect(other).toEqual(before);
  expect(await sealStrays(options())).toEqual([]);
});

test("killed before the pages were written anew, it goes on at the next start", async () => {
  const dying = {
    get: async (key: string) => store.get(key),
    write: async (changes: Parameters<typeof store.write>[0]) => store.write(changes),
    scrub: async () => Promise.reject(new Error("killed")),
  };
  await expect(sealStrays({ ...options(), store: dying })).rejects.toThrow("killed");
  expect(await sealStrays(options())).toEqual([]);
  expect(onDisk()).toEqual([]);
});

test("a version that another master changes meanwhile is not overwritten, and looked at again at the next start", async () => {
  const contested = {
    get: async (key: string) => store.get(key),
    write: async (changes: Parameters<typeof store.write>[0]) =>
      changes[0]?.key === STRAYS ? store.write(changes) : { kind: "conflict" as const, key: changes[0]?.key ?? "" },
    scrub: async () => store.scrub(),
  };
  expect(await sealStrays({ ...options(), store: contested })).toEqual([]);
  expect(onDisk()).not.toEqual([]);
  expect(await sealStrays(options())).toEqual(['version 1 of "password" of web1']);
  expect(onDisk()).toEqual([]);
});

test("until then history and lint go on past it, and lint names it", async () => {
  const compile = async () => ({ pillar: {}, secrets: new Map() });
  const { versions } = await secretHistory({ secrets, compile }, "web1", "password");
  expect(versions.map(({ recipients }) => recipients)).toEqual([0, 1]);
  const { findings } = await lintPillar({
    roots: [],
    store,
    versions: secrets.versions,
    compile,
    compileOtherwise: compile,
    ids: () => [],
    uses: async () => Promise.reject(new Error("no host is here")),
    opens: () => true,
    olderIdentities: () => 0,
    sharedTrees: () => [],
  });
  expect(findings.map(({ kind, id }) => [kind, id])).toContainEqual(["not-encrypted", "web1"]);
  expect(JSON.stringify(findings)).not.toContain(PLAIN);
});
