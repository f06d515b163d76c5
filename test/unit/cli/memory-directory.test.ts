import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeMemoryDirectory, memoryPlaces, wipeDirectory, wipeLeftovers } from "../../../src/cli/memory-directory.ts";

const UID = process.getuid?.() ?? 0;
let place = "";
beforeEach(() => {
  place = mkdtempSync("/dev/shm/latchkey-test-");
});
afterEach(() => {
  rmSync(place, { recursive: true, force: true });
});

describe("a directory in memory", () => {
  test("is made in the session's own runtime directory where it has one, never in another user's", () => {
    const usual = memoryPlaces(UID);
    expect(memoryPlaces(UID, place)).toEqual([place, ...usual]);
    expect(memoryPlaces(UID, usual[1])[0]).toBe(usual[UID === 0 ? 1 : 0]);
    expect(memoryPlaces(UID, "/no/such/place")).toEqual(usual);
    expect(memoryPlaces(UID, "relative")).toEqual(usual);
    expect(memoryPlaces(UID + 1, place)).not.toContain(place);
  });

  test("is made on tmpfs with mode 0700", () => {
    const made = makeMemoryDirectory([place]);
    expect(statSync(made).mode & 0o777).toBe(0o700);
    expect(made.startsWith(`${place}/latchkey-edit-${process.pid}-`)).toBe(true);
  });

  test("a place on a disk, or none, is refused", () => {
    const disk = mkdtempSync(join(tmpdir(), "latchkey-disk-"));
    // where even the temporary directory is in memory there is no disk to refuse
    const places = ["/no/such/place", "/proc", disk].filter((path) => path !== disk || !disk.startsWith("/dev/shm"));
    expect(() => makeMemoryDirectory(places)).toThrow("no tmpfs to keep the plaintext in");
    rmSync(disk, { recursive: true });
  });
});

describe("wiping", () => {
  test("overwrites files before it removes them", () => {
    const directory = join(place, "d");
    mkdirSync(join(directory, "deep"), { recursive: true });
    const file = join(directory, "deep", "plain.yaml");
    writeFileSync(file, "x".repeat(200_000));
    const kept = openSync(file, "r");
    wipeDirectory(directory);
    const bytes = Buffer.alloc(200_000, 1);
    readSync(kept, bytes, 0, bytes.length, 0);
    closeSync(kept);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    expect(existsSync(directory)).toBe(false);
  });

  test("never follows a symbolic link", () => {
    const outside = join(place, "outside");
    writeFileSync(outside, "stays");
    mkdirSync(join(place, "d"));
    symlinkSync(outside, join(place, "d", "link"));
    wipeDirectory(join(place, "d"));
    expect(readFileSync(outside, "utf8")).toBe("stays");
  });

  test("leftovers: only directories by our name whose process is gone", () => {
    const gone = join(place, "latchkey-edit-999999999-12345-abcDEF");
    const recycled = join(place, `latchkey-edit-${process.pid}-1-abcDEF`);
    const strange = join(place, "latchkey-edit-x");
    const alive = makeMemoryDirectory([place]);
    for (const path of [gone, recycled, strange]) mkdirSync(path);
    symlinkSync(strange, join(place, "latchkey-edit-999999998-12345-abcDEF"));
    writeFileSync(join(gone, "db1.yaml"), "plain");
    expect(wipeLeftovers([place, "/no/such"], UID).toSorted()).toEqual([gone, recycled].toSorted());
    expect([gone, recycled, strange, alive].map((path) => existsSync(path))).toEqual([false, false, true, true]);
  });

  test("what another wipes at the same time is no failure", async () => {
    const directory = join(place, "d");
    mkdirSync(directory);
    for (let n = 0; n < 300; n += 1) writeFileSync(join(directory, `f${n}`), "plain");
    const module = new URL("../../../src/cli/memory-directory.ts", import.meta.url).href;
    const program = `import { wipeDirectory } from ${JSON.stringify(module)}; wipeDirectory(${JSON.stringify(directory)});`;
    const ends = Array.from({ length: 4 }, async () => {
      const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: "ignore" });
      return (await once(child, "exit"))[0] as number | null;
    });
    expect(await Promise.all(ends)).toEqual([0, 0, 0, 0]);
    expect(existsSync(directory)).toBe(false);
  }, 60_000);

  test("leftovers of another user are not touched", () => {
    const foreign = join(place, "latchkey-edit-999999999-12345-abcDEF");
    mkdirSync(foreign);
    expect(wipeLeftovers([place], UID + 1)).toEqual([]);
    expect(existsSync(foreign)).toBe(true);
  });
});
