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
import { SqliteStore } from "../../src/master/store/sqlite.ts";
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
});
