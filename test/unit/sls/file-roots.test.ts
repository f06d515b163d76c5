import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openRoots } from "../../../src/sls/file-roots.ts";

let base = "";
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "latchkey-roots-"));
  for (const dir of ["a/sub", "b", "a2"]) mkdirSync(join(base, dir), { recursive: true });
  writeFileSync(join(base, "a/top.sls"), "first");
  writeFileSync(join(base, "b/top.sls"), "second");
  writeFileSync(join(base, "b/only.sls"), "only");
  writeFileSync(join(base, "a/sub/x.sls"), "x");
  writeFileSync(join(base, "secret"), "no");
  writeFileSync(join(base, "a2/near"), "no");
  symlinkSync(join(base, "secret"), join(base, "a/leak"));
  symlinkSync(base, join(base, "a/up"));
  symlinkSync("sub/x.sls", join(base, "a/inside"));
  symlinkSync("/dev/null", join(base, "a/null"));
  execFileSync("mkfifo", [join(base, "a/fifo")]);
});
afterAll(() => rmSync(base, { recursive: true }));

const roots = () => openRoots([join(base, "a"), join(base, "b"), join(base, "none")]);
const text = async (path: string) => {
  const data = await roots().read(path);
  return data && Buffer.from(data).toString();
};

test("the first root that has a path wins", async () => {
  expect(await text("top.sls")).toBe("first");
  expect(await text("only.sls")).toBe("only");
  expect(await text("inside")).toBe("x");
  expect(await text("nosuch")).toBeUndefined();
});

test.each([
  "../secret",
  "sub/../../secret",
  "/etc/passwd",
  "",
  ".",
  "sub//x.sls",
  "sub\\x.sls",
  "top.sls\0.txt",
  "leak",
  "up/secret",
  "../a2/near",
  "sub",
  "top.sls/x",
  "x".repeat(5000),
])("lesson: 2020-11652 paths are proven inside their root: %j is not there", async (path) => {
  expect(await text(path)).toBeUndefined();
});

test.each(["fifo", "null"])("lesson: 2024-38824 reads never open FIFOs or devices: %s", async (path) => {
  expect(await text(path)).toBeUndefined();
});

test("the list has every file once with its hash, and sees a change", async () => {
  const files = roots();
  const sha256 = (data: string) => createHash("sha256").update(data).digest("hex");
  expect(await files.list()).toEqual([
    { path: "inside", size: 1, sha256: sha256("x") },
    { path: "only.sls", size: 4, sha256: sha256("only") },
    { path: "sub/x.sls", size: 1, sha256: sha256("x") },
    { path: "top.sls", size: 5, sha256: sha256("first") },
  ]);
  writeFileSync(join(base, "a/sub/x.sls"), "changed");
  expect((await files.list()).find(({ path }) => path === "sub/x.sls")?.sha256).toBe(sha256("changed"));
});

test("a file is read in pieces", async () => {
  const files = roots();
  const first = await files.readChunk("only.sls", 0, 3);
  const rest = await files.readChunk("only.sls", 3, 3);
  expect([first?.eof, rest?.eof]).toEqual([false, true]);
  expect(Buffer.concat([first?.data ?? Buffer.of(), rest?.data ?? Buffer.of()]).toString()).toBe("only");
  expect((await files.readChunk("only.sls", 99, 3))?.data).toHaveLength(0);
});
