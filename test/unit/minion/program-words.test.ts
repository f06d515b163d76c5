import { expect, test } from "vitest";
import { programWords } from "../../../src/minion/program-words.ts";

test.each([
  ["", ""],
  ["\n\n", ""],
  ["Device /dev/x is busy.\n", "Device /dev/x is busy."],
  [
    'WARNING: devices file is missing\n  Volume group "vg" not found\n  Cannot process volume group vg\n',
    'Volume group "vg" not found; Cannot process volume group vg',
  ],
  ["Warning: all of it\n", "Warning: all of it"],
  ["again\nagain\nagain\n", "again"],
  [
    "Filesystem must be larger than 300MB.\nUsage: mkfs.xfs\n/* block */\n/* data */\n\t\t[-d ...]\n<value> is xxx (512 byte blocks).\n",
    "Filesystem must be larger than 300MB.; Usage: mkfs.xfs; …; <value> is xxx (512 byte blocks).",
  ],
])("%j is told as %j", (stderr, told) => {
  expect(programWords(stderr)).toBe(told);
});

test("however much it is, it stays one line of 500 characters", () => {
  for (const text of [
    "x".repeat(9000),
    `${"y".repeat(3000)}\n`.repeat(9),
    Array.from({ length: 99 }, (_, n) => `${n} ${"z".repeat(400)}`).join("\n"),
  ]) {
    expect(programWords(text).length).toBeLessThanOrEqual(500);
    expect(programWords(text)).not.toContain("\n");
    expect(programWords(text).length).toBeGreaterThan(300);
  }
});
