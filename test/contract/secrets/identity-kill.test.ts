import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256 } from "../../../src/core/crypto/hash.ts";
import { decryptAge } from "../../../src/core/age-decrypt.ts";
import type { AgeIdentity } from "../../../src/core/age-identity.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { Secret } from "../../../src/core/secret.ts";
import { loadAgeIdentity, protectAgeIdentity, unprotectAgeIdentity } from "../../../src/master/age-identity-file.ts";
import { openSecrets } from "../../../src/master/secrets.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import { quoteYaml, secretPlaces } from "../../../src/pillar/edit-text.ts";
import { asking, replaceIdentity, WORK_FACTOR } from "./replace-identity.ts";

const PROGRAM = new URL("kill-during-identity.ts", import.meta.url).pathname;
const PASSPHRASE = "correct horse";
const VALUES = { file: "one", stored: "three" };

let base: string;
let first: AgeIdentity;
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), "latchkey-identity-"));
  const directory = join(base, "origin");
  mkdirSync(join(directory, "pillar/hosts"), { recursive: true });
  const store = new SqliteStore(join(directory, "store.db"));
  first = await loadAgeIdentity(join(directory, "age.key"), store, systemClock);
  using secrets = openSecrets({ store, identity: first, recoveryRecipients: [], clock: systemClock });
  using value = Secret.take(Buffer.from(VALUES.stored));
  await secrets.escrow("web1", "stored", value);
  await store.close();
  const armored = await encryptAge(Buffer.from(VALUES.file), [first.recipient]);
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), `p: !secret ${quoteYaml(armored)}\n`);
});
afterEach(() => rmSync(base, { recursive: true }));

function fresh(name: string): string {
  const directory = join(base, name);
  cpSync(join(base, "origin"), directory, { recursive: true });
  return directory;
}

function run(act: string, directory: string, word: string, dieAt = 0) {
  const argv = ["--disable-warning=ExperimentalWarning", PROGRAM, act, directory, word, String(dieAt)];
  const { signal, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  if (signal === null && stdout === "") throw new Error(stderr);
  return { signal, ...(stdout === "" ? {} : (JSON.parse(stdout) as { passed: number; acts: string[] })) };
}

/** Starts as a master does, and opens everything; as it finds the identity then. */
async function reopened(directory: string, word = PASSPHRASE) {
  const store = new SqliteStore(join(directory, "store.db"));
  const identity = await loadAgeIdentity(join(directory, "age.key"), store, systemClock, asking(word));
  using secrets = openSecrets({ store, identity, recoveryRecipients: [], clock: systemClock });
  const text = readFileSync(join(directory, "pillar/hosts/web1.yaml"), "utf8");
  using file = decryptAge(secretPlaces(text, "web1")[0]?.value ?? "", identity);
  using value = Secret.take(Buffer.from(VALUES.stored));
  // the same value is found again, whichever identity its digest was made with
  const { version, armored } = await secrets.escrow("web1", "stored", value);
  expect(version).toBe(1);
  using stored = decryptAge(armored, identity);
  expect({ file: file.expose().toString(), stored: stored.expose().toString() }).toEqual(VALUES);
  await store.close();
  return { identity, armored: [armored, secretPlaces(text, "web1")[0]?.value ?? ""] };
}

function expectTidy(directory: string): void {
  expect(readdirSync(directory).filter((name) => name.startsWith("age.key"))).toEqual(["age.key", "age.key.lock"]);
  expect(statSync(join(directory, "age.key")).mode & 0o777).toBe(0o600);
}

const go = async (directory: string, word: string) =>
  replaceIdentity(
    directory,
    word,
    () => {},
    () => {},
  );

async function lock(directory: string): Promise<void> {
  using key = Secret.take(Buffer.from(PASSPHRASE));
  await protectAgeIdentity(join(directory, "age.key"), key, { workFactor: WORK_FACTOR });
}

// made: record, 4 of the file; rekey: 2 records, 2 ends, 2 of the version, 3 of the file; dropped: record, 4 of the file
const POINTS = 5 + 2 + 2 + 2 + 3 + 5;

test.each([
  // the points of a rekey in between are those of a test of its own
  [
    "plain",
    "",
    [...Array.from({ length: 8 }, (_, index) => index + 1), 11, ...[5, 4, 3, 2, 1, 0].map((n) => POINTS - n)],
  ],
  ["behind a passphrase", PASSPHRASE, [2, 4, POINTS - 2]],
])(
  "I3: kill -9 at every point of replacing an identity, %s, loses no value, and the next run finishes",
  async (_name, word, points) => {
    if (word !== "") await lock(join(base, "origin"));
    const whole = run("replace", fresh("whole"), word);
    expect(whole.passed).toBe(POINTS);
    expect(whole.acts).toEqual([
      "identity-replaced made",
      "secrets-rekeyed started",
      "secrets-rekeyed finished",
      "identity-replaced dropped",
    ]);
    for (const point of points) {
      const directory = fresh(`killed-${point}`);
      expect(run("replace", directory, word, point).signal).toBe("SIGKILL");
      await reopened(directory);
      expectTidy(directory);
      if (point < POINTS - 1) await go(directory, word);
      const { identity, armored } = await reopened(directory);
      expectTidy(directory);
      expect(identity.older).toBe(undefined);
      expect(identity.recipient).not.toBe(first.recipient);
      for (const each of armored) expect(() => decryptAge(each, first)).toThrow("not encrypted to this identity");
    }
  },
  120_000,
);

test.each(["protect", "unprotect"])(
  "I3: kill -9 at every point of identity %s leaves one that opens",
  async (act) => {
    if (act === "unprotect") {
      using key = Secret.take(Buffer.from(PASSPHRASE));
      await protectAgeIdentity(join(base, "origin/age.key"), key, { workFactor: WORK_FACTOR });
    }
    const whole = run(act, fresh("whole"), PASSPHRASE);
    expect(whole.passed).toBe(4);
    const plainMarks = sha256(readFileSync(join(base, "origin/age.key")));
    for (let point = 1; point <= 4; point += 1) {
      const directory = fresh(`killed-${point}`);
      expect(run(act, directory, PASSPHRASE, point).signal).toBe("SIGKILL");
      const isOld = sha256(readFileSync(join(directory, "age.key"))).equals(plainMarks);
      expect(isOld).toBe(point < 3);
      const { identity } = await reopened(directory);
      expect(identity.recipient).toBe(first.recipient);
      expectTidy(directory);
      // what was begun can be done, or is done
      if (isOld && act === "protect") await lock(directory);
      if (isOld && act === "unprotect") await unprotectAgeIdentity(join(directory, "age.key"), asking(PASSPHRASE));
      expect((await reopened(directory)).identity.recipient).toBe(first.recipient);
      expectTidy(directory);
    }
  },
  120_000,
);
