import { expect, test } from "vitest";
import type { EscrowedHeader } from "../../../../src/core/volume-header.ts";
import { headersToKeep } from "../../../../src/master/volumes/header-keep.ts";

type Known = Pick<EscrowedHeader, "proven" | "slots"> & { readonly version: number };

const header = (version: number, versions: readonly number[], proven = 0): Known => ({
  version,
  proven: { version: proven, at: proven },
  slots: versions.map((key, slot) => ({
    slot,
    kdf: "pbkdf2",
    priority: "prefer",
    mark: "",
    version: key,
    trusted: true,
  })),
});
/** Headers of a volume whose key was rotated again and again: `each` headers with each version, all proven, newest first. */
const rotated = (keys: number, each = 1): readonly Known[] =>
  Array.from({ length: keys * each }, (_, index) => {
    const version = keys * each - index;
    const key = Math.ceil(version / each);
    return header(version, [key], key);
  });
const down = (from: number) => Array.from({ length: from }, (_, index) => from - index);
const kept = (headers: readonly Known[], stored: readonly number[]) =>
  [...headersToKeep(headers, stored)].map(({ version }) => version);

test("few headers all stay, also of versions that are not stored", () => {
  expect(kept(rotated(20), [])).toHaveLength(20);
  expect(kept([], [1])).toEqual([]);
});

test("beyond twenty only the newest of each stored version stays", () => {
  const headers = rotated(3, 30);
  expect(kept(headers, [3, 2, 1])).toEqual([...down(90).slice(0, 20), 60, 30]);
  expect(kept(headers, [3, 1])).toEqual([...down(90).slice(0, 20), 30]);
});

test("a key that is rotated for ever keeps no more headers than a host can be told of, the latest versions first", () => {
  const numbers = kept(rotated(200), down(200));
  expect(numbers).toHaveLength(60);
  expect(Math.min(...numbers)).toBe(141);
});

test("what was proven to open with a version that the newest header has a slot of stays before all others", () => {
  const old = header(1, [7], 7);
  const fresh = Array.from({ length: 100 }, (_, index) => header(200 - index, [index + 10]));
  const newest = header(201, [7, 109]);
  expect(kept([newest, ...fresh, old], [...down(109).slice(0, 100), 7])).toContain(1);
});
