import { closeSync, fstatSync, lstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Needle } from "../src/core/needles.ts";

const CHUNK = 8 << 20;
const NOTHING = Buffer.alloc(CHUNK);

/** Where a needle was found. */
export interface Leak {
  readonly place: string;
  readonly form: string;
  readonly offset: number;
}

/** Finds the needles in bytes that are at hand; `place` names them in the answer. */
export function searchBytes(place: string, bytes: Buffer, needles: readonly Needle[]): readonly Leak[] {
  return needles.flatMap(({ form, bytes: needle }) => {
    const offset = bytes.indexOf(needle);
    return offset < 0 ? [] : [{ place, form, offset }];
  });
}

/** Finds the needles in a file of any size (disk images are sparse and large), at most one hit a needle. */
export function searchFile(path: string, needles: readonly Needle[]): readonly Leak[] {
  const overlap = Math.max(...needles.map(({ bytes }) => bytes.length)) - 1;
  const file = openSync(path, "r");
  try {
    const leaks = new Map<string, Leak>();
    const buffer = Buffer.alloc(CHUNK + overlap);
    const size = fstatSync(file).size;
    for (let at = 0; at < size; at += CHUNK) {
      const got = readSync(file, buffer, 0, buffer.length, at);
      // most of a disk image is a hole
      if (got >= CHUNK && buffer.compare(NOTHING, 0, CHUNK, 0, CHUNK) === 0) continue;
      for (const leak of searchBytes(path, buffer.subarray(0, got), needles)) {
        if (!leaks.has(leak.form)) leaks.set(leak.form, { ...leak, offset: at + leak.offset });
      }
    }
    return [...leaks.values()];
  } finally {
    closeSync(file);
  }
}

/** Finds the needles in every regular file below a directory. */
export function searchTree(directory: string, needles: readonly Needle[]): readonly Leak[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => lstatSync(path).isFile())
    .flatMap((path) => searchFile(path, needles));
}
