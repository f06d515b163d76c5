import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { searchBytes, searchFile, searchTree } from "../../lab/leak-search.ts";
import { needlesOf } from "../../src/core/needles.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "needles-"));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const WAYS: readonly (readonly [string, (key: Buffer) => Buffer])[] = [
  ["as it is", (key) => key],
  ["in hexadecimal", (key) => Buffer.from(key.toString("hex"))],
  ["in capital hexadecimal", (key) => Buffer.from(key.toString("hex").toUpperCase())],
  ["as UTF-16", (key) => Buffer.from(key.toString("latin1"), "utf16le")],
  ...[0, 1, 2, 3, 4].flatMap((before) =>
    [0, 1, 2].map(
      (after) =>
        [
          `in base64 with ${before} bytes before and ${after} after`,
          (key: Buffer) =>
            Buffer.from(Buffer.concat([randomBytes(before), key, randomBytes(after)]).toString("base64")),
        ] as const,
    ),
  ),
];

test.each(WAYS)("a planted key is found %s", (_, write) => {
  for (const length of [16, 31, 32, 33, 64]) {
    const key = randomBytes(length);
    const place = Buffer.concat([randomBytes(1000), write(key), randomBytes(1000)]);
    expect(searchBytes("here", place, needlesOf(key))).not.toEqual([]);
  }
});

test("random bytes hold no key", () => {
  expect(searchBytes("here", randomBytes(1 << 20), needlesOf(randomBytes(32)))).toEqual([]);
});

test("a key across the border of two chunks of a large sparse file is found, and where it lies", () => {
  const key = randomBytes(32);
  const path = join(directory, "disk.img");
  const offset = (8 << 20) - 7;
  writeFileSync(path, Buffer.concat([Buffer.alloc(offset), key, Buffer.alloc(20 << 20)]));
  expect(searchFile(path, needlesOf(key))).toEqual([{ place: path, form: "raw", offset }]);
  expect(searchTree(directory, needlesOf(key))).toHaveLength(1);
  expect(searchTree(directory, needlesOf(randomBytes(32)))).toEqual([]);
});

test("a key too short to tell from chance is refused", () => {
  expect(() => needlesOf(Buffer.from("short"))).toThrow(RangeError);
});
