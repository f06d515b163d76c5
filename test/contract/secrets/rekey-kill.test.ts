import { randomBytes } from "node:crypto";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decryptAge } from "../../../src/core/age-decrypt.ts";
import { type AgeIdentity, generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { sha256 } from "../../../src/core/crypto/hash.ts";
import { Secret } from "../../../src/core/secret.ts";
import type { RekeyReport } from "../../../src/core/secrets-api.ts";
import type { EscrowedHeader } from "../../../src/core/volume-header.ts";
import { loadAgeIdentity } from "../../../src/master/age-identity-file.ts";
import { openSecrets } from "../../../src/master/secrets.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import { HeaderStore } from "../../../src/master/volumes/header-store.ts";
import { vaultOf } from "../../../src/master/volumes/vault.ts";
import { quoteYaml, secretPlaces } from "../../../src/pillar/edit-text.ts";

const PROGRAM = new URL("kill-during-rekey.ts", import.meta.url).pathname;
/** More than one piece of the store's. */
const HEADER = randomBytes(600_000);
const VALUES = {
  "hosts/web1.yaml": "one",
  stored: "three",
  header: sha256(HEADER).toString("hex"),
} as const;

const FACTS: Omit<EscrowedHeader, "version"> = {
  volume: "data",
  digest: VALUES.header,
  bytes: HEADER.length,
  luksUuid: "u",
  reason: "provision",
  device: "/dev/sdb",
  deviceBytes: 0,
  disk: { serial: "", bytes: 0, pvUuids: [] },
  slots: [],
  volumeKey: "0".repeat(16),
  at: 1,
  proven: { version: 0, at: 0 },
};

let base: string;
let master: AgeIdentity;
const older = parseAgeIdentityFile(generateAgeIdentityFile("now"), "old");
const newer = parseAgeIdentityFile(generateAgeIdentityFile("now"), "new");

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), "latchkey-rekey-"));
  const directory = join(base, "origin");
  mkdirSync(join(directory, "pillar/hosts"), { recursive: true });
  const store = new SqliteStore(join(directory, "store.db"));
  master = await loadAgeIdentity(join(directory, "age.key"), store, systemClock);
  using secrets = openSecrets({ store, identity: master, recoveryRecipients: [older.recipient], clock: systemClock });
  using value = Secret.take(Buffer.from(VALUES.stored));
  await secrets.escrow("web1", "stored", value);
  await new HeaderStore(store, vaultOf(secrets, master)).add("web1", FACTS, HEADER, async (_header, changes) => {
    await store.write(changes);
  });
  await store.close();
  for (const file of ["hosts/web1.yaml"] as const) {
    const armored = await encryptAge(Buffer.from(VALUES[file]), [master.recipient, older.recipient]);
    writeFileSync(join(directory, "pillar", file), `p: !secret ${quoteYaml(armored)}\n`);
  }
});
afterEach(() => rmSync(base, { recursive: true }));

function run(directory: string, dieAt: number) {
  const argv = ["--disable-warning=ExperimentalWarning", PROGRAM, directory, newer.recipient, String(dieAt)];
  const { signal, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  if (signal === null && stdout === "") throw new Error(stderr);
  return {
    signal,
    result: stdout === "" ? undefined : (JSON.parse(stdout) as { passed: number; report: RekeyReport }),
  };
}

/** Everything that can be opened with an identity, by name. */
async function opened(directory: string, identity: AgeIdentity): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  const tryOpen = (name: string, armored: string) => {
    try {
      found[name] = decryptAge(armored, identity).expose().toString();
    } catch {
      // not one of its recipients: the caller sees that it is not there
    }
  };
  for (const file of ["hosts/web1.yaml"]) {
    const text = readFileSync(join(directory, "pillar", file), "utf8");
    tryOpen(file, secretPlaces(text, file)[0]?.value ?? "");
  }
  const store = new SqliteStore(join(directory, "store.db"));
  using secrets = openSecrets({ store, identity: master, recoveryRecipients: [], clock: systemClock });
  tryOpen("stored", (await secrets.history("web1", "stored"))[0]?.armored ?? "");
  const headers = new HeaderStore(store, vaultOf(secrets, identity));
  const [header] = await headers.list("web1", "data");
  const bytes = header && (await headers.read("web1", header).catch(() => undefined));
  if (bytes !== undefined) found["header"] = sha256(bytes).toString("hex");
  await store.close();
  return found;
}

test("I3: kill -9 at every point of a rekey loses no value, and the next run finishes it", async () => {
  const fresh = (name: string) => {
    const directory = join(base, name);
    cpSync(join(base, "origin"), directory, { recursive: true });
    return directory;
  };
  const whole = run(fresh("whole"), 0).result;
  // start, sealed and switched of a version, sealed, switched and marked of a file, sealed and switched of a header, end
  expect(whole?.passed).toBe(1 + 2 + 3 + 2 + 1);
  expect(whole?.report.rekeyed).toHaveLength(3);
  expect(whole?.report.rekeyed.at(-1)).toBe("header 1 of web1/data");
  for (let point = 1; point <= (whole?.passed ?? 0); point += 1) {
    const directory = fresh(`killed-${point}`);
    expect(run(directory, point).signal).toBe("SIGKILL");
    expect(await opened(directory, master)).toEqual(VALUES);
    const [before, after] = [await opened(directory, older), await opened(directory, newer)];
    expect({ ...before, ...after }).toEqual(VALUES);
    const { report } = run(directory, 0).result ?? {};
    expect(report).toMatchObject({ resumed: point < (whole?.passed ?? 0), failed: [] });
    expect(await opened(directory, newer)).toEqual(VALUES);
    expect(await opened(directory, older)).toEqual({});
    expect(await opened(directory, master)).toEqual(VALUES);
    expect(readdirSync(join(directory, "pillar/hosts"))).toEqual(["web1.yaml"]);
  }
}, 120_000);
