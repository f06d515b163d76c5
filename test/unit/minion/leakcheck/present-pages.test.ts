import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { presentRanges } from "../../../../src/minion/leakcheck/present-pages.ts";

const PAGE = 4096;
const RESERVED = 64 * 1024 * 1024;

/** Mappings of this process of at least so many bytes that it can write to. */
const mappings = () =>
  readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, from = "", to = ""] = /^([0-9a-f]+)-([0-9a-f]+) rw/u.exec(line) ?? [];
      return from === "" ? [] : [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) }];
    });

test("of a large buffer that was touched in three places three runs are there, and looking makes no more", () => {
  // calloc: a mapping of its own, zeros by the kernel
  const buffer = new Uint8Array(new ArrayBuffer(RESERVED));
  const spots = [0, RESERVED / 2, RESERVED - 1];
  for (const spot of spots) buffer[spot] = 1;
  const of = mappings().find(({ from, to }) => to - from >= RESERVED && to - from < RESERVED * 2);
  const bytes = () => [...presentRanges(of ?? { from: 0, to: 0 })].reduce((sum, { from, to }) => sum + to - from, 0);
  const once = bytes();
  expect(once).toBeGreaterThanOrEqual(3 * PAGE);
  expect(once).toBeLessThan(RESERVED / 2);
  expect(bytes()).toBe(once);
  expect(buffer[0]).toBe(1);
});

test("ranges are whole pages within the mapping, in order", () => {
  for (const mapping of mappings().slice(0, 50)) {
    let last = mapping.from;
    for (const { from, to } of presentRanges(mapping)) {
      expect(from).toBeGreaterThanOrEqual(last);
      expect(to).toBeGreaterThan(from);
      expect([from % PAGE, to % PAGE]).toEqual([0, 0]);
      last = to;
    }
    expect(last).toBeLessThanOrEqual(mapping.to);
  }
});

test("what is mapped nowhere has no pages", () => {
  expect([...presentRanges({ from: PAGE, to: 3 * PAGE })]).toEqual([]);
});
