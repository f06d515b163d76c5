import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../../src/core/age-identity.ts";
import { encryptAge } from "../../../../src/core/age.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { Lane } from "../../../../src/core/lane.ts";
import { openSecrets, type Secrets } from "../../../../src/master/secrets.ts";
import { importSecret } from "../../../../src/master/secrets/import.ts";
import { lintPillar } from "../../../../src/master/secrets/lint.ts";
import { otherGrains } from "../../../../src/master/secrets/other-grains.ts";
import { rekey } from "../../../../src/master/secrets/rekey.ts";
import { setSecret } from "../../../../src/master/secrets/set.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { quoteYaml } from "../../../../src/pillar/edit-text.ts";
import { PillarTree } from "../../../../src/pillar/tree.ts";

const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
let root: string;
let store: MemoryStore;
let secrets: Secrets;
let tree: PillarTree;
let file: string;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "latchkey-import-"));
  mkdirSync(join(root, "hosts"));
  file = join(root, "hosts/web1.yaml");
  store = new MemoryStore();
  secrets = openSecrets({ store, identity, recoveryRecipients: [], clock: systemClock });
  tree = new PillarTree([root]);
});
afterEach(() => {
  secrets[Symbol.dispose]();
  rmSync(root, { recursive: true });
});

const seal = async (text: string) => encryptAge(Buffer.from(text), [identity.recipient]);
const desk = (record: () => Promise<void> = async () => {}) => ({
  root,
  secrets,
  versions: secrets.versions,
  lane: new Lane(),
  compile: async (id: string) => tree.compile(id, {}),
  compileWith: async (id: string, text: string) => tree.compileWith(id, {}, text),
  guard: async () => {},
  record,
});
const lease = async (purpose: "open" | "format") => {
  const resolved = await secrets.resolveSecret("web1", await tree.compile("web1", {}), "password", purpose);
  return [resolved?.secret.expose().toString(), resolved?.generated];
};

test("I3: an import that dies before the file is written leaves the value where it was, and goes on when asked again", async () => {
  writeFileSync(file, `password: !secret ${quoteYaml(await seal("hunter2"))}\n`);
  const before = readFileSync(file, "utf8");
  const dying = desk(async () => Promise.reject(new Error("killed")));
  await expect(importSecret(dying, "web1", { path: "password" })).rejects.toThrow("killed");
  expect(readFileSync(file, "utf8")).toBe(before);
  expect(await lease("open")).toEqual(["hunter2", false]);
  expect(await importSecret(desk(), "web1", { path: "password" })).toMatchObject({ version: 1 });
  expect(readFileSync(file, "utf8")).toBe("password: !generate\n");
  // still the operator's own value: it keeps the semantics of one
  expect(await lease("open")).toEqual(["hunter2", false]);
  expect(await lease("format")).toEqual(["hunter2", false]);
});

test("I1: a store that cannot keep the value leaves the file alone", async () => {
  writeFileSync(file, `password: !secret ${quoteYaml(await seal("hunter2"))}\n`);
  const before = readFileSync(file, "utf8");
  store.fail = "disk full";
  await expect(importSecret(desk(), "web1", { path: "password" })).rejects.toThrow("disk full");
  store.fail = undefined;
  const get = store.get.bind(store);
  store.get = async () => undefined;
  await expect(importSecret(desk(), "web1", { path: "password" })).rejects.toThrow("does not read back");
  store.get = get;
  expect(readFileSync(file, "utf8")).toBe(before);
});

test("a secret of a shared SLS file is imported for one host; the file keeps it for the others", async () => {
  writeFileSync(join(root, "top.sls"), "base:\n  '*':\n    - all\n");
  const shared = `password: !secret ${quoteYaml(await seal("hunter2"))}\n`;
  writeFileSync(join(root, "all.sls"), shared);
  const { warnings } = await importSecret(desk(), "web1", { path: "password" });
  expect(warnings).toEqual(['"all.sls" still has it for others; "hosts/web1.yaml" wins for "web1"']);
  expect(readFileSync(join(root, "all.sls"), "utf8")).toBe(shared);
  expect(await lease("open")).toEqual(["hunter2", false]);
});

test("ciphertext for recipients of before is refused, though it has the right number of them", async () => {
  const change = { path: "password", armored: await seal("hunter2"), set: "0123456789abcdef" };
  await expect(setSecret(desk(), "web1", change)).rejects.toThrow("not encrypted to all 1 recipients");
});

test("plain text behind !secret is kept encrypted when it is replaced, and said; no form of it is stored", async () => {
  writeFileSync(file, "password: !secret left-in-plain\n");
  const { warnings } = await setSecret(desk(), "web1", { path: "password", armored: await seal("hunter2") });
  expect(warnings).toEqual([
    expect.stringMatching(/^"password" stood there in plain text: it is kept encrypted, as version 1/u),
  ]);
  expect(await lease("open")).toEqual(["hunter2", false]);
  const versions = await secrets.history("web1", "password");
  using old = secrets.open(versions[0]?.armored ?? "");
  expect(old.expose().toString()).toBe("left-in-plain");
  const stored = (await store.list("")).map(({ value }) => Buffer.from(value).toString("latin1")).join("\n");
  expect(stored).not.toContain("left-in-plain");
});

test("ciphertext that leaves the pillar is kept; anything else is refused", async () => {
  await expect(secrets.versions.keepSealed("web1", "password", "left-in-plain")).rejects.toThrow("no age ciphertext");
  expect(await secrets.history("web1", "password")).toEqual([]);
});

test("an old import does not come back: the value imported last is the one that is leased", async () => {
  for (const value of ["one", "two", "one"]) {
    await setSecret(desk(), "web1", { path: "password", armored: await seal(value) });
    await importSecret(desk(), "web1", { path: "password" });
    expect(await lease("open")).toEqual([value, false]);
  }
});

test("I3: many sets at once in one file all arrive", async () => {
  const shared = desk();
  const paths = Array.from({ length: 8 }, (_, index) => `key${index}`);
  const armored = await seal("x");
  await Promise.all(paths.map(async (path) => setSecret(shared, "web1", { path, armored })));
  expect([...(await tree.compile("web1", {})).secrets.keys()].sort()).toEqual(paths);
});

test("lint tells of a rekey that was interrupted, until it is done", async () => {
  const parts = { ...desk(), store, identity, clock: systemClock, roots: [root] };
  const lint = async () =>
    (
      await lintPillar({
        sharedTrees: () => [],
        ...parts,
        opens: () => true,
        olderIdentities: () => 0,
        compileOtherwise: parts.compile,
        uses: async () => null,
        ids: () => [],
      })
    ).findings;
  const dying = rekey({
    ...parts,
    reached: () => {
      throw new Error("killed");
    },
  });
  await expect(dying).rejects.toThrow("killed");
  expect(await lint()).toMatchObject([{ kind: "rekey-unfinished" }]);
  expect(await rekey(parts)).toMatchObject({ resumed: true });
  expect(await lint()).toEqual([]);
});

test("lint names secrets that grains give, which any accepted host can claim", async () => {
  const sealed = `password: !secret ${quoteYaml(await seal("hunter2"))}\n`;
  const write = (name: string, text: string) => writeFileSync(join(root, name), text);
  write("top.sls", "base:\n  '*':\n    - all\n  'role:db':\n    - match: grain\n    - db\n");
  write("all.sls", `os: {{grains.os}}\n${sealed.replace("password", "shared")}`);
  write("db.sls", sealed);
  const grains = { os: "Debian", role: "db" };
  const lint = async () =>
    (
      await lintPillar({
        sharedTrees: () => [],
        ...desk(),
        store,
        roots: [root],
        opens: () => true,
        olderIdentities: () => 0,
        uses: async () => null,
        ids: () => ["web1"],
        compile: async (id) => tree.compile(id, grains),
        compileOtherwise: async (id) => tree.compile(id, otherGrains(grains)),
      })
    ).findings.filter(({ kind }) => kind === "secret-by-grain");
  expect(await lint()).toMatchObject([
    { id: "web1", file: "db.sls", line: 1, message: expect.stringContaining("claim") },
  ]);
  write("all.sls", `include:\n  - os-{{grains.os}}\n`);
  write("os-Debian.sls", "a: 1\n");
  expect(await lint()).toMatchObject([{ id: "web1", file: "", message: expect.stringContaining("other grains") }]);
});
