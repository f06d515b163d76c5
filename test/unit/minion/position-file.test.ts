import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openPositionFile } from "../../../src/minion/position-file.ts";

const scratch = mkdtempSync(join(tmpdir(), "latchkey-position-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let files = 0;
const newPath = () => join(scratch, `position-${(files += 1)}`);

test("I7: the position outlasts a restart, for the same master alone", async () => {
  const path = newPath();
  const first = await openPositionFile(path);
  expect(first.lastSeq("SHA256:a")).toBe(0);
  for (const seq of [1, 2, 3, 9]) await first.save("SHA256:a", seq);
  await first.close();
  const second = await openPositionFile(path);
  expect(second.lastSeq("SHA256:a")).toBe(9);
  expect(second.lastSeq("SHA256:b")).toBe(0);
  await second.save("SHA256:b", 4);
  await second.close();
  const third = await openPositionFile(path);
  expect(third.lastSeq("SHA256:b")).toBe(4);
  await third.close();
});

test("I7: the positions of several masters are kept apart, of the sixteen heard of last", async () => {
  const path = newPath();
  const first = await openPositionFile(path);
  for (let master = 1; master <= 16; master += 1) await first.save(`m${master}`, master * 10);
  await first.save("m1", 11);
  await first.save("m17", 5);
  await first.close();
  const second = await openPositionFile(path);
  expect(second.lastSeq("m1")).toBe(11);
  expect(second.lastSeq("m2")).toBe(0);
  expect(second.lastSeq("m16")).toBe(160);
  expect(second.lastSeq("m17")).toBe(5);
  await second.close();
  const bytes = readFileSync(path);
  bytes.fill(7, 5 * 512, 6 * 512);
  writeFileSync(path, bytes);
  await expect(openPositionFile(path)).rejects.toMatchObject({ code: "position-damaged" });
});

test("I7: the position never goes back", async () => {
  const path = newPath();
  const file = await openPositionFile(path);
  await Promise.all([file.save("m", 7), file.save("m", 5)]);
  expect(file.lastSeq("m")).toBe(7);
  await file.close();
});

test("I7: a write that was cut short leaves the number before it", async () => {
  const path = newPath();
  const file = await openPositionFile(path);
  await file.save("m", 10);
  await file.save("m", 11);
  await file.close();
  const bytes = readFileSync(path);
  bytes.fill(0, 256 + 30);
  writeFileSync(path, bytes);
  const again = await openPositionFile(path);
  expect(again.lastSeq("m")).toBe(10);
  await again.close();
});

test("I7: a file of which nothing is whole is an error, not a start from zero", async () => {
  const path = newPath();
  writeFileSync(path, Buffer.alloc(512, 7));
  await expect(openPositionFile(path)).rejects.toMatchObject({ code: "position-damaged" });
});
