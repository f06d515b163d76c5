import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PillarTree } from "../../../src/pillar/tree.ts";

let root: string;
let second: string;
let tree: PillarTree;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "latchkey-pillar-"));
  second = mkdtempSync(join(tmpdir(), "latchkey-pillar-"));
  mkdirSync(join(root, "hosts"));
  mkdirSync(join(second, "hosts"));
  tree = new PillarTree([root, second]);
});
afterEach(() => {
  rmSync(root, { recursive: true });
  rmSync(second, { recursive: true });
});

const put = (path: string, text: string, base = root) => writeFileSync(join(base, path), text);
const pillar = async (id = "web1", grains = {}) => (await tree.compile(id, grains)).pillar;

test("nothing is compiled again while nothing changed; every change is seen", async () => {
  put("top.sls", "base: {'*': [a]}");
  put("a.sls", "os: {{grains.os}}\n");
  const first = await tree.compile("web1", { os: "Debian" });
  expect(await tree.compile("web1", { os: "Debian" })).toBe(first);
  expect(await pillar("web1", { os: "Arch" })).toEqual({ os: "Arch" });
  put("a.sls", "os: linux\n");
  expect(await pillar()).toEqual({ os: "linux" });
  put("hosts/web1.yaml", "b: 1\n");
  expect(await pillar()).toEqual({ os: "linux", b: 1 });
  rmSync(join(root, "hosts/web1.yaml"));
  expect(await pillar()).toEqual({ os: "linux" });
});

test("a file that appears in an earlier root is taken from then on", async () => {
  put("top.sls", "base: {'*': [a]}", second);
  put("a.sls", "from: second\n", second);
  expect(await pillar()).toEqual({ from: "second" });
  put("a.sls", "from: first\n");
  expect(await pillar()).toEqual({ from: "first" });
});

test("host files come from the first root alone", async () => {
  put("hosts/web1.yaml", "a: 1\n", second);
  expect(await pillar()).toEqual({});
});

test("a broken pillar stays broken until it is mended, whatever was compiled before", async () => {
  put("hosts/web1.yaml", "a: 1\n");
  await pillar();
  put("hosts/web1.yaml", "a: [\n");
  await expect(pillar()).rejects.toThrow("cannot read YAML");
  await expect(pillar()).rejects.toThrow("cannot read YAML");
  put("hosts/web1.yaml", "a: 2\n");
  expect(await pillar()).toEqual({ a: 2 });
});

test("lesson: 2020-11652 links that lead outside, FIFOs and directories are errors, not half a pillar", async () => {
  const outside = join(second, "outside.yaml");
  writeFileSync(outside, "a: 1\n");
  const host = join(root, "hosts/web1.yaml");
  symlinkSync(outside, host);
  await expect(pillar()).rejects.toThrow("leads outside");
  rmSync(host);
  execFileSync("mkfifo", [host]);
  await expect(pillar()).rejects.toThrow("not a regular file");
  rmSync(host);
  mkdirSync(host);
  await expect(pillar()).rejects.toThrow("not a regular file");
});

test.skipIf(process.getuid?.() === 0)("a file that cannot be read is an error, not half a pillar", async () => {
  put("hosts/web1.yaml", "a: 1\n");
  chmodSync(join(root, "hosts/web1.yaml"), 0);
  await expect(pillar()).rejects.toThrow("cannot read pillar file");
});

test("a text not yet on disk can be tried without a trace", async () => {
  put("hosts/web1.yaml", "a: 1\n");
  expect((await tree.compileWith("web1", {}, "a: 2\n")).pillar).toEqual({ a: 2 });
  expect(await pillar()).toEqual({ a: 1 });
});
