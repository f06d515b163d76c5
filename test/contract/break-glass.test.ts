import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../src/core/age-identity.ts";
import { systemClock } from "../../src/core/clock.ts";
import { loadAgeIdentity } from "../../src/master/age-identity-file.ts";
import { createPillarEditor } from "../../src/master/pillar-edit.ts";
import { openSecrets, type Secrets } from "../../src/master/secrets.ts";
import { putRecord } from "../../src/master/store/record.ts";
import { SqliteStore } from "../../src/master/store/sqlite.ts";
import { rotationKey } from "../../src/master/volumes/rotation-record.ts";
import { PillarTree } from "../../src/pillar/tree.ts";
import { lacks } from "../tools.ts";

const page = readFileSync(resolve(import.meta.dirname, "../../docs/BREAK-GLASS.md"), "utf8");
const [fromPillar = "", fromStore = "", open = ""] = [...page.matchAll(/```sh\n(.*?)```/gsu)].map((match) => match[1]);

function sh(command: string, env: Readonly<Record<string, string>>): Buffer {
  const path = `${resolve(process.execPath, "..")}:${process.env["PATH"] ?? ""}`;
  return execFileSync("sh", ["-euc", command], { env: { ...env, PATH: path } });
}

describe.skipIf(lacks("age"))("the break-glass page, followed with stock tools", () => {
  const PASSPHRASE = 'pass "phrase" \\ \u00fc';
  let directory: string;
  let identities: readonly string[];
  let store: SqliteStore;
  let secrets: Secrets;
  let tree: PillarTree;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "latchkey-glass-"));
    mkdirSync(join(directory, "pillar"));
    identities = [join(directory, "age.key"), join(directory, "recovery.key")];
    store = new SqliteStore(join(directory, "store.db"));
    const file = generateAgeIdentityFile("2026-11-22");
    writeFileSync(identities[1] ?? "", file.expose(), { mode: 0o600 });
    const recoveryRecipients = [parseAgeIdentityFile(file, "recovery").recipient];
    const identity = await loadAgeIdentity(identities[0] ?? "", store, systemClock);
    secrets = openSecrets({ store, identity, recoveryRecipients, clock: systemClock });
    tree = new PillarTree([join(directory, "pillar")]);
    const editor = createPillarEditor({
      root: join(directory, "pillar"),
      secrets,
      recoveryRecipients,
      compileWith: async (id, text) => tree.compileWith(id, {}, text),
      validate: async () => [],
      record: async () => {},
      grainsKnown: () => true,
    });
    const text = `# web1\npassword: !secret ${JSON.stringify(PASSPHRASE)} # mine\nmade: !generate\n`;
    await editor.update("web1", { revision: "", text });
  });
  afterEach(async () => {
    secrets[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  test("a passphrase comes out of the pillar file to the byte, by either identity", async () => {
    await store.close();
    for (const IDENTITY of identities) {
      const HOST_FILE = join(directory, "pillar/hosts/web1.yaml");
      expect(sh(fromPillar, { HOST_FILE, IDENTITY }).toString()).toBe(PASSPHRASE);
    }
  });

  test("a generated key comes out of a dead master's store to the byte, by either identity", async () => {
    const pillar = await tree.compile("web1", {});
    const key = (await secrets.resolveSecret("web1", pillar, "made", "format"))?.secret.expose();
    await store.close();
    const printed = sh(fromStore, { STORE: join(directory, "store.db") }).toString();
    expect(printed).toMatch(/^secret\/web1\/made\/000001 generated\n/u);
    const CIPHERTEXT = join(directory, "ciphertext");
    writeFileSync(CIPHERTEXT, printed.slice(printed.indexOf("\n") + 1));
    for (const IDENTITY of identities) expect(sh(open, { CIPHERTEXT, IDENTITY })).toEqual(key);
  });

  test("of several versions the page names the current one, also beside a rotation's and an unprovisioned volume's", async () => {
    const pillar = await tree.compile("web1", {});
    const current = async (purpose: "open" | "format") =>
      (await secrets.resolveSecret("web1", pillar, "made", purpose))?.secret.expose();
    const { versions } = secrets;
    const printed = () => {
      const text = sh(fromStore, { STORE: join(directory, "store.db") }).toString();
      return [...text.matchAll(/^secret\/web1\/made\/(.*)\n(-----BEGIN[^]*?END AGE ENCRYPTED FILE-----\n)/gmu)].map(
        ([, name = "", armored = ""]) => ({ name, armored }),
      );
    };
    const named = async () => {
      const found = printed();
      const CIPHERTEXT = join(directory, "ciphertext");
      writeFileSync(
        CIPHERTEXT,
        found.findLast(({ name }) => /^\d+ (?:generated|imported)$/u.test(name))?.armored ?? "",
      );
      const opened = sh(open, { CIPHERTEXT, IDENTITY: identities[1] ?? "" });
      return { names: found.map(({ name }) => name), opened };
    };
    const key = Buffer.from((await current("format")) ?? []);
    const place = { id: "web1", path: "made", volume: "data", luksUuid: "u" };
    const rotation = { ...place, from: 1, keepOld: false, slot: -1, begunAt: 1, changedAt: 1 };
    await versions.mint("web1", "made", (to) =>
      putRecord(rotationKey("web1", "made"), { ...rotation, to, state: "pending", aside: [to] }),
    );
    expect(await current("open")).toEqual(key);
    await store.close();
    expect(await named()).toEqual({ names: ["000001 generated", "000002 generated set-aside"], opened: key });

    store = new SqliteStore(join(directory, "store.db"));
    secrets[Symbol.dispose]();
    const identity = await loadAgeIdentity(identities[0] ?? "", store, systemClock);
    secrets = openSecrets({ store, identity, recoveryRecipients: [], clock: systemClock });
    await secrets.versions.forget("web1", "made");
    const anew = Buffer.from((await current("format")) ?? []);
    expect(anew).not.toEqual(key);
    await store.close();
    const CIPHERTEXT = join(directory, "ciphertext");
    const names = ["000001 generated forgotten", "000002 generated set-aside forgotten", "000003 generated"];
    expect(printed().map(({ name }) => name)).toEqual(names);
    // a disk of before still opens with what is marked
    writeFileSync(CIPHERTEXT, printed()[0]?.armored ?? "");
    expect(sh(open, { CIPHERTEXT, IDENTITY: identities[0] ?? "" })).toEqual(key);
    writeFileSync(CIPHERTEXT, printed()[2]?.armored ?? "");
    expect(sh(open, { CIPHERTEXT, IDENTITY: identities[0] ?? "" })).toEqual(anew);
  });
});
