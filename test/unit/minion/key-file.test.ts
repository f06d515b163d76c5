import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Secret } from "../../../src/core/secret.ts";
import { wipeLeftKeyFiles, withKeyFile } from "../../../src/minion/key-file.ts";

const MODULES = resolve(import.meta.dirname, "../../../src");
let onTmpfs = "";
let elsewhere = "";

beforeAll(() => {
  onTmpfs = mkdtempSync("/dev/shm/latchkey-test-");
  elsewhere = mkdtempSync(join(import.meta.dirname, ".key-file-"));
});
afterAll(() => {
  for (const directory of [onTmpfs, elsewhere]) rmSync(directory, { recursive: true });
});

const secretOf = (key: Buffer) => Secret.take(Buffer.from(key));

test("lesson: 2020-17490 a key file is 0600 from its first byte, on a tmpfs, and its name cannot be guessed", async () => {
  const key = randomBytes(32);
  const names = new Set<string>();
  for (let round = 0; round < 2; round += 1) {
    const path = await withKeyFile([join(onTmpfs, "keys")], secretOf(key), async (file) => {
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(readFileSync(file).equals(key)).toBe(true);
      return file;
    });
    names.add(path);
    expect(existsSync(path)).toBe(false);
  }
  expect(names.size).toBe(2);
  expect(statSync(join(onTmpfs, "keys")).mode & 0o777).toBe(0o700);
});

test("I5: a key file is overwritten before it is removed, also when its use fails", async () => {
  const other = join(onTmpfs, "other-link");
  const use = async (path: string) => {
    linkSync(path, other);
    throw new Error("the tool failed");
  };
  await expect(withKeyFile([join(onTmpfs, "keys")], secretOf(randomBytes(32)), use)).rejects.toThrow("the tool failed");
  expect(readFileSync(other).equals(Buffer.alloc(32))).toBe(true);
  expect(readdirSync(join(onTmpfs, "keys"))).toEqual([]);
});

test("I5: no key file on a disk, nor in a directory that is a link or somebody else's to read", async () => {
  const use = async () => expect.unreachable();
  const shared = mkdtempSync(join(onTmpfs, "shared-"));
  symlinkSync(shared, join(onTmpfs, "link"));
  for (const directory of [join(elsewhere, "keys"), join(onTmpfs, "link"), join(onTmpfs, "none/none")]) {
    await expect(withKeyFile([directory], secretOf(randomBytes(32)), use)).rejects.toMatchObject({ code: "no-tmpfs" });
  }
  expect(readdirSync(shared)).toEqual([]);
});

test("I5: what a minion killed with -9 leaves is found and wiped at the next start; that of a live one stays", async () => {
  const directory = join(onTmpfs, "keys");
  const script = `
    import { Secret } from "${MODULES}/core/secret.ts";
    import { withKeyFile } from "${MODULES}/minion/key-file.ts";
    import { randomBytes } from "node:crypto";
    setInterval(() => {}, 1000);
    await withKeyFile(["${directory}"], Secret.take(randomBytes(32)), async (path) => {
      console.log(path);
      await new Promise(() => {});
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { promise: exited, resolve: ended } = Promise.withResolvers<void>();
  child.once("exit", () => ended());
  const { promise: said, resolve: say } = Promise.withResolvers<string>();
  child.stdout.once("data", (chunk: Buffer) => say(chunk.toString("utf8").trim()));
  const path = await said;
  expect(wipeLeftKeyFiles([directory])).toBe(0);
  expect(existsSync(path)).toBe(true);
  linkSync(path, join(onTmpfs, "witness"));
  child.kill("SIGKILL");
  await exited;
  expect(wipeLeftKeyFiles([join(onTmpfs, "none"), directory])).toBe(1);
  expect(existsSync(path)).toBe(false);
  expect(readFileSync(join(onTmpfs, "witness")).equals(Buffer.alloc(32))).toBe(true);
});
