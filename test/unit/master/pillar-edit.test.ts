import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decryptAge } from "../../../src/core/age-decrypt.ts";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { createPillarEditor, type PillarEditor } from "../../../src/master/pillar-edit.ts";
import { openSecrets, type Secrets } from "../../../src/master/secrets.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { quoteYaml } from "../../../src/pillar/edit-text.ts";
import { PillarTree } from "../../../src/pillar/tree.ts";

const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
const recovery = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");

let root: string;
let file: string;
let store: MemoryStore;
let secrets: Secrets;
let editor: PillarEditor;
let recorded: object[];
let mistakes: readonly string[];
/** What the states say to one pillar alone, on top of the mistakes: by a value that is in it. */
let saidTo: Readonly<Record<string, readonly string[]>>;
let seen: boolean;
let tree: PillarTree;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "latchkey-edit-"));
  file = join(root, "hosts/web1.yaml");
  store = new MemoryStore();
  mistakes = [];
  saidTo = {};
  recorded = [];
  seen = true;
  tree = new PillarTree([root]);
  const recoveryRecipients = [recovery.recipient];
  secrets = openSecrets({ store, identity, recoveryRecipients, clock: systemClock });
  editor = createPillarEditor({
    root,
    secrets,
    recoveryRecipients,
    compileWith: async (id, text) => tree.compileWith(id, {}, text),
    validate: async (_, { pillar }) => [...mistakes, ...(saidTo[JSON.stringify(pillar)] ?? [])],
    record: async (id, act) => void recorded.push({ id, ...act }),
    grainsKnown: () => seen,
  });
});
afterEach(() => {
  secrets[Symbol.dispose]();
  rmSync(root, { recursive: true });
});

async function save(change: (text: string) => string) {
  const { revision, text } = await editor.source("web1");
  return editor.update("web1", { revision, text: change(text) });
}
const onDisk = () => readFileSync(file, "utf8");

test("a host without a file gets a template; saved unchanged or edited it becomes a file of mode 0600", async () => {
  const source = await editor.source("web1");
  expect(source).toMatchObject({ path: "hosts/web1.yaml", revision: "" });
  expect(source.text).toContain("# password: !generate");
  await save((text) => `${text}password: !secret hunter2\n`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(root, "hosts"))).toEqual(["web1.yaml"]);
  expect(onDisk()).not.toContain("hunter2");
  const { secrets: table } = await tree.compile("web1", {});
  const node = table.get("password");
  expect(
    decryptAge(node?.kind === "secret" ? node.armored : "", recovery)
      .expose()
      .toString(),
  ).toBe("hunter2");
});

test("only the changed secret's line differs afterwards", async () => {
  await save(() => 'a: !secret "one"\nb: !secret "two" # why\n');
  const before = onDisk().split("\n");
  expect(await save((text) => text.replace('"one"', '"uno"'))).toMatchObject({ changedSecrets: ["a"] });
  const after = onDisk().split("\n");
  expect(after[0]).not.toBe(before[0]);
  expect(after.slice(1)).toEqual(before.slice(1));
  expect((await editor.source("web1")).text).toBe('a: !secret "uno"\nb: !secret "two" # why\n');
});

test("saving what was shown writes nothing", async () => {
  await save(() => 'a: !secret "one"\n');
  const { ino, mtimeMs } = statSync(file);
  expect(await save((text) => text)).toEqual({ changedSecrets: [], warnings: [] });
  expect(statSync(file)).toMatchObject({ ino, mtimeMs });
});

test("a file that changed meanwhile is not overwritten, and of two at once one wins", async () => {
  await save(() => "a: 1\n");
  const { revision } = await editor.source("web1");
  const both = await Promise.allSettled(
    ["b: 1\n", "c: 1\n"].map(async (text) => editor.update("web1", { revision, text })),
  );
  expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  expect(both[1]).toMatchObject({ reason: { code: "pillar-changed" } });
  expect(onDisk()).toBe("b: 1\n");
});

test.each([
  ["YAML", "a: 1\nb: [\n", "bad-yaml", { file: "hosts/web1.yaml", line: 2 }],
  ["a tag", "a: !secrets x\n", "bad-yaml", { line: 1 }],
  ["an empty secret", "a: 1\nb: !secret ''\n", "empty-secret", { line: 2 }],
  ["a value after !generate", "b: !generate x\n", "bad-pillar", { line: 1 }],
  [
    "ciphertext for somebody else",
    `b: !secret ${quoteYaml(await encryptAge(Buffer.from("x"), [recovery.recipient]))}\n`,
    "bad-pillar",
    { line: 1 },
  ],
])("a mistake in %s is refused and the file untouched", async (_, text, code, facts) => {
  await save(() => 'a: !secret "one"\n');
  const before = onDisk();
  await expect(save(() => text)).rejects.toMatchObject({ code, facts });
  expect(onDisk()).toBe(before);
});

test("what the host's states do not accept is refused before anything is kept or written", async () => {
  await save(() => 'password: !secret "one"\n');
  const errors = ['"vg_name" is missing', "another"];
  saidTo = { '{"password":"secret:password","b":1}': errors };
  await expect(save(() => 'password: !secret "two"\nb: 1\n')).rejects.toMatchObject({
    code: "pillar-invalid",
    message: 'cannot save "hosts/web1.yaml": 2 mistakes\n  "vg_name" is missing\n  another',
    facts: { errors },
  });
  expect((await editor.source("web1")).text).toBe('password: !secret "one"\n');
  expect(await secrets.history("web1", "password")).toEqual([]);
});

test("what the host's states said before does not hold up an urgent change: only new mistakes refuse it", async () => {
  await save(() => 'password: !secret "one"\n');
  mistakes = ['"web.sls", line 3: no state function "file.manged"'];
  const { changedSecrets, warnings } = await save(() => 'password: !secret "two"\n');
  expect(changedSecrets).toEqual(["password"]);
  expect(warnings).toEqual([`saved, but the host's states were broken before this edit and are: ${mistakes[0]}`]);
  saidTo = { '{"a":1}': ['"vg_name" is missing'] };
  await expect(save(() => "a: 1\n")).rejects.toMatchObject({
    message: 'cannot save "hosts/web1.yaml": "vg_name" is missing',
  });
});

test("of very many mistakes the first are shown and the rest counted", async () => {
  saidTo = { '{"a":1}': Array.from({ length: 25 }, (_, n) => `mistake ${n}`) };
  await expect(save(() => "a: 1\n")).rejects.toThrow(/: 25 mistakes\n {2}mistake 0\n[^]*mistake 19\n {2}5 more$/u);
});

test("an old file that does not compile excuses nothing", async () => {
  mkdirSync(join(root, "hosts"));
  writeFileSync(file, "a: [\n");
  mistakes = ["broken"];
  await expect(save(() => "a: 1\n")).rejects.toThrow("broken");
});

test("before a host was seen, what its states say is a warning, for their templates may need its grains", async () => {
  mistakes = ['"grains.os" is missing'];
  seen = false;
  const { warnings } = await save(() => "a: 1\n");
  expect(warnings).toEqual([
    'the host was never seen, so its grains are not known; its states say: "grains.os" is missing',
  ]);
  expect(onDisk()).toBe("a: 1\n");
});

test("I3: a value that is changed or removed is in the store before the file changes; a leased one is warned of", async () => {
  await save(() => 'password: !secret "one"\nother: !secret "x"\n');
  using leased = (await secrets.resolveSecret("web1", await tree.compile("web1", {}), "password", "format"))?.secret;
  expect(leased?.expose().toString()).toBe("one");
  const result = await save(() => 'password: !secret "two"\n');
  expect(result.changedSecrets).toEqual(["other", "password"]);
  expect(result.warnings).toEqual([
    '"password" has been leased: a volume formatted with its old value opens with that value alone (kept as version 1)',
  ]);
  const kept = await Promise.all(["password", "other"].map(async (path) => secrets.history("web1", path)));
  expect(
    kept.map(([version]) =>
      decryptAge(version?.armored ?? "", recovery)
        .expose()
        .toString(),
    ),
  ).toEqual(["one", "x"]);
});

test("I3: when the old value cannot be kept the file is not changed", async () => {
  await save(() => 'password: !secret "one"\n');
  const before = onDisk();
  store.fail = "disk full";
  await expect(save(() => 'password: !secret "two"\n')).rejects.toThrow("disk full");
  expect(onDisk()).toBe(before);
});

test("key material in plain text and a line break at the end of a key are warned of", async () => {
  const { warnings } = await save(() => "db:\n  password: hunter2\nkeyboard: de\nkey_file: /x\nk: !secret |\n  line\n");
  expect(warnings).toEqual([
    '"k" ends with a line break, which is part of the key; write |- for a block without',
    '"db:password" is stored in plain text; write !secret before the value',
  ]);
});

test("bytes that are no text stay ciphertext in the editor and keep it", async () => {
  const binary = quoteYaml(await encryptAge(Buffer.of(0xff, 0, 0xfe), [identity.recipient]));
  mkdirSync(join(root, "hosts"));
  writeFileSync(file, `a: !secret ${binary}\n`);
  expect((await editor.source("web1")).text).toBe(`a: !secret ${binary}\n`);
  await save((text) => `${text}b: 1\n`);
  expect(onDisk()).toBe(`a: !secret ${binary}\nb: 1\n`);
});

test("a file that is broken already can be opened and mended", async () => {
  mkdirSync(join(root, "hosts"));
  writeFileSync(file, "a: [\n");
  expect((await editor.source("web1")).text).toBe("a: [\n");
  await save(() => "a: []\n");
  expect(onDisk()).toBe("a: []\n");
});

test("lesson: 2020-11652 links are not followed and ids never become paths", async () => {
  mkdirSync(join(root, "hosts"));
  symlinkSync("/etc/hostname", file);
  await expect(editor.source("web1")).rejects.toThrow("it is a link or no regular file");
  await expect(editor.source("../web1")).rejects.toThrow("cannot use minion id");
});

test.skipIf(process.getuid?.() === 0)("a directory that cannot be written leaves the old file", async () => {
  await save(() => "a: 1\n");
  chmodSync(join(root, "hosts"), 0o500);
  await expect(save(() => "a: 2\n")).rejects.toThrow("cannot write pillar file");
  chmodSync(join(root, "hosts"), 0o700);
  expect(onDisk()).toBe("a: 1\n");
});

test("I5: that secrets were shown and changed is recorded before it happens, with paths and never a value", async () => {
  await save((text) => `${text}password: !secret hunter2\nother: !secret hunter3\n`);
  await save((text) => text.replace("hunter2", "hunter4"));
  const file = "hosts/web1.yaml";
  expect(recorded).toEqual([
    { id: "web1", kind: "pillar-edited", file, secrets: ["other", "password"] },
    { id: "web1", kind: "secret-shown", file, secrets: ["password", "other"] },
    { id: "web1", kind: "pillar-edited", file, secrets: ["password"] },
  ]);
  expect(JSON.stringify(recorded)).not.toContain("hunter");
});

test("where others can put a link in place of a directory, nothing is read or written behind it", async () => {
  mkdirSync(join(root, "elsewhere"));
  symlinkSync("elsewhere", join(root, "hosts"));
  chmodSync(root, 0o777);
  const refused = {
    code: "unsafe-link",
    message: expect.stringContaining(`every user may write to "${root}"`) as string,
  };
  await expect(editor.source("web1")).rejects.toMatchObject(refused);
  await expect(editor.update("web1", { revision: "", text: "a: 1\n" })).rejects.toMatchObject(refused);
  expect(readdirSync(join(root, "elsewhere"))).toEqual([]);
});
