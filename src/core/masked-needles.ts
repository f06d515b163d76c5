import { randomBytes } from "node:crypto";
import { needleForms } from "./needles.ts";

/** A place in searched bytes where a form of the key begins. */
export interface Found {
  readonly form: string;
  readonly offset: number;
}

/** What can be searched for without lying in memory: each byte is kept combined with a random one. */
export interface MaskedNeedles {
  /** Length of the longest form in bytes: pieces of one text must overlap by one less. */
  readonly longest: number;
  /** The first place of each form in the bytes. */
  readonly find: (bytes: Uint8Array) => readonly Found[];
}

interface Masked {
  readonly form: string;
  readonly masked: Uint8Array;
  readonly mask: Uint8Array;
}

/**
 * Takes the forms of a key in masked shape. From then on the key can be wiped: a search of the searcher's own memory does
 * not find the searcher. Throws RangeError on a key too short to search for.
 */
export function maskNeedles(key: Uint8Array): MaskedNeedles {
  const needles = needleForms(key).map(({ form, length, byteAt }): Masked => {
    const mask = randomBytes(length);
    // byte by byte, so that the plain form is never in memory
    const masked = new Uint8Array(length);
    for (let index = 0; index < length; index += 1) masked[index] = byteAt(index) ^ (mask[index] ?? 0);
    return { form, masked, mask };
  });
  // two bytes of each form decide, in one look, whether a place is worth a comparison
  const starts = new Uint8Array(1 << 16);
  for (const needle of needles) starts[plainAt(needle, 0) | (plainAt(needle, 1) << 8)] = 1;
  return {
    longest: Math.max(...needles.map(({ masked }) => masked.length)),
    find: (bytes) => search(bytes, starts, needles),
  };
}

const plainAt = ({ masked, mask }: Masked, index: number) => (masked[index] ?? 0) ^ (mask[index] ?? 0);

function search(bytes: Uint8Array, starts: Uint8Array, needles: readonly Masked[]): readonly Found[] {
  const found = new Map<string, Found>();
  const end = bytes.length - 1;
  let pair = (bytes[0] ?? 0) << 8;
  for (let offset = 0; offset < end; offset += 1) {
    pair = (pair >> 8) | ((bytes[offset + 1] ?? 0) << 8);
    if (starts[pair] === 0) continue;
    for (const needle of needles) {
      if (!found.has(needle.form) && isAt(bytes, offset, needle)) {
        found.set(needle.form, { form: needle.form, offset });
      }
    }
  }
  return [...found.values()];
}

function isAt(bytes: Uint8Array, offset: number, needle: Masked): boolean {
  const { length } = needle.masked;
  if (offset + length > bytes.length) return false;
  for (let index = 0; index < length; index += 1) {
    if (bytes[offset + index] !== plainAt(needle, index)) return false;
  }
  return true;
}
