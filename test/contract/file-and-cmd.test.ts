import {
  lstatSync,
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
import type { StateReturn } from "../../src/core/state-return.ts";
import { runStates } from "../../src/minion/engine/run.ts";
import { compile } from "../../src/sls/compile.ts";
import { renderTemplate } from "../../src/sls/render.ts";
import { STATES } from "../../src/states/registry.ts";
import { catalogueOf } from "../../src/states/validate.ts";
import { engineDeps } from "./conformance/run-case.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-states-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string) => join(directory, name);
const textAt = (name: string) => readFileSync(at(name), "utf8");

/** Runs an SLS on this machine; `{T}` is the test's directory, `files` what the file roots hold besides. */
async function run(
  sls: string,
  { mode = "apply", files = {} }: { mode?: "apply" | "test"; files?: Readonly<Record<string, Buffer>> } = {},
): Promise<readonly StateReturn[]> {
  const source = {
    read: async (path: string) => (path === "a.sls" ? Buffer.from(sls.replaceAll("{T}", directory)) : undefined),
  };
  const context = { id: "minion", grains: {}, pillar: {} };
  const compiled = await compile({ kind: "sls", names: ["a"] }, source, context, catalogueOf(STATES));
  if (compiled.kind === "errors") throw compiled.errors[0] ?? new Error("no error");
  const deps = {
    ...engineDeps(),
    source: async (url: string) => {
      const data = files[url.replace("salt://", "")];
      return data === undefined ? undefined : { data, sha256: "" };
    },
  };
  const settings = { test: mode === "test", signal: new AbortController().signal };
  return Object.values(await runStates(compiled.chunks, deps, settings));
}

const managed = (checks: string) =>
  `{T}/conf:\n  file.managed:\n    - contents: new\n    - mode: '0644'\n    - check_cmd: ${checks}\n`;

test("check_cmd of file.managed sees the new content, for root alone, before the file is replaced", async () => {
  writeFileSync(at("conf"), "old\n");
  const look = `sh -c 'stat -c %a "$1" > {T}/seen; cat "$1" {T}/conf >> {T}/seen; dirname "$1" >> {T}/seen' look`;
  expect(await run(managed(JSON.stringify(look)))).toMatchObject([{ result: true }]);
  expect(textAt("seen")).toBe(`600\nnew\nold\n${directory}\n`);
  expect(textAt("conf")).toBe("new\n");
  expect(statSync(at("conf")).mode & 0o777).toBe(0o644);
  expect(readdirSync(directory).toSorted()).toEqual(["conf", "seen"]);
  // nothing to write, so nothing to check
  expect(await run(managed("'false'"))).toMatchObject([{ result: true, changes: {} }]);
});

test.each(["grep -q old", "[grep -q new, grep -q old]"])(
  "when check_cmd %s fails the old file stays",
  async (checks) => {
    writeFileSync(at("conf"), "old\n");
    const [row] = await run(managed(checks));
    expect(row).toMatchObject({ result: false, changes: {} });
    expect(row?.comment).toContain(`cannot write "${at("conf")}": check_cmd failed with exit code 1`);
    expect(textAt("conf")).toBe("old\n");
    expect(readdirSync(directory)).toEqual(["conf"]);
  },
);

test.each([
  ["shows no changes", "\n    - show_changes: false", false],
  ["shows its changes", "", true],
])("what check_cmd says, content in it, is told of a file that %s: %s", async (_what, more, isTold) => {
  const [row] = await run(managed(JSON.stringify("sh -c 'cat \"$1\" >&2; exit 3' look") + more));
  expect(row?.comment).toContain("check_cmd failed with exit code 3");
  expect(row?.comment.includes("new")).toBe(isTold);
});

test("a check_cmd that is missing fails, and a path that a shell would read is no command", async () => {
  const [missing] = await run(managed("no-such-command-here"));
  expect(missing?.result).toBe(false);
  const odd = "{T}/$(touch pwned) x;y:\n  file.managed:\n    - contents: a\n    - check_cmd: cat\n";
  expect(await run(odd)).toMatchObject([{ result: true }]);
  expect(readdirSync(directory)).toEqual(["$(touch pwned) x;y"]);
});

test("in test mode nothing is checked and nothing written", async () => {
  expect(await run(managed("'false'"), { mode: "test" })).toMatchObject([{ result: null }]);
  expect(readdirSync(directory)).toEqual([]);
});

test("in test mode what an earlier state would make is no error, also without a requisite", async () => {
  const sls =
    "made:\n  file.directory:\n    - name: {T}/d\nx:\n  file.managed:\n    - name: {T}/d/f\n    - contents: a\n";
  const rows = await run(sls, { mode: "test" });
  expect(rows).toMatchObject([{ result: null }, { result: null, comment: "would run after made", changes: {} }]);
  const alone = "x:\n  file.managed:\n    - name: {T}/d/f\n    - contents: a\n";
  expect(await run(alone, { mode: "test" })).toMatchObject([{ result: false }]);
  // what the file roots do not have, no state makes
  const lost = sls.replace("contents: a", "source: salt://none");
  expect(await run(lost, { mode: "test" })).toMatchObject([{ result: null }, { result: false }]);
  expect(await run(sls)).toMatchObject([{ result: true }, { result: true }]);
});

test("a diff begins with the names of the file", async () => {
  writeFileSync(at("conf"), "old\n");
  const [row] = await run("{T}/conf:\n  file.managed:\n    - contents: new\n");
  expect(row?.changes["diff"]).toMatch(/^--- .*\n\+\+\+ .*\n@@ -1,1 \+1,1 @@\n-old\n\+new\n$/u);
});

test("a template that is not UTF-8 is refused with its line, a plain source is copied byte for byte", async () => {
  const bytes = Buffer.from("one\ncaf\u00e9\n", "latin1");
  const files = { conf: bytes };
  const sls = "{T}/conf:\n  file.managed:\n    - source: salt://conf\n";
  expect(await run(sls, { files })).toMatchObject([{ result: true }]);
  expect(readFileSync(at("conf"))).toEqual(bytes);
  const [row] = await run(`${sls}    - template: handlebars\n`, { files });
  expect(row).toMatchObject({ result: false });
  expect(row?.comment).toContain("cannot read text: it is not UTF-8 (salt://conf line 2)");
  expect(renderTemplate("caf\u00e9", "conf", {})).toBe("caf\u00e9");
});

test("output over 1 MiB is cut and says so, and the last line of a stateful command counts all the same", async () => {
  const long = "head -c 1200000 /dev/zero | tr '\\0' x; echo; echo changed=no comment=done";
  const state = (more: string) => `x:\n  cmd.run:\n    - name: ${JSON.stringify(long)}\n${more}`;
  const [plain] = await run(state(""));
  const stdout = expect.stringMatching(/x\n\[output over 1 MiB dropped\]$/u);
  expect(plain).toMatchObject({ result: true, changes: { stderr: "", stdout } });
  expect(await run(state("    - stateful: true\n"))).toMatchObject([{ result: true, changes: {}, comment: "done" }]);
});

const writeTo = (path: string) => `${path}:\n  file.managed:\n    - contents: new\n`;

test("file.managed through links: a link that leads nowhere gets its target, one to a directory is a way, a circle is refused", async () => {
  mkdirSync(at("real"));
  symlinkSync("not-there-yet", at("dangling"));
  symlinkSync("real", at("way"));
  symlinkSync("round", at("about"));
  symlinkSync("about", at("round"));
  expect(await run(writeTo("{T}/dangling") + writeTo("{T}/way/deep"))).toMatchObject([
    { result: true },
    { result: true },
  ]);
  expect([lstatSync(at("dangling")).isSymbolicLink(), textAt("not-there-yet"), textAt("real/deep")]).toEqual([
    true,
    "new\n",
    "new\n",
  ]);
  expect(await run(writeTo("{T}/round"))).toMatchObject([
    { result: false, comment: expect.stringContaining("too many symbolic links") },
  ]);
  expect(await run(writeTo("{T}/way"))).toMatchObject([
    { result: false, comment: expect.stringContaining("there is a directory") },
  ]);
});
