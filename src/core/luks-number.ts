import type { Json } from "./json.ts";

/** LUKS2 has room for 32 keyslots, and as many tokens, segments and digests (specification 1.1, section 3). */
const MAX_ID = 31;
const DIGITS = /^(?:0|[1-9]\d{0,15})$/u;

/**
 * A number as a LUKS2 header has its 64-bit ones: a text of decimal digits (specification 1.1, section 3.1, "string-encoded
 * uint64"), as cryptsetup writes it. Undefined for all else: a sign, a space, an exponent, zeros in front, no text at all, or
 * more than is exact here (2^53 - 1; no device is as large).
 */
export function readLuksNumber(value: Json | undefined): number | undefined {
  if (typeof value !== "string" || !DIGITS.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** A number that a header has as JSON's own: whole, from 0, exact; undefined for all else, also for the same as a text. */
export function readLuksInteger(value: Json | undefined): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** The number of a keyslot, token, segment or digest by its name in the header, 0 to 31; undefined for another name. */
export function readLuksId(name: string): number | undefined {
  const id = readLuksNumber(name);
  return id !== undefined && id <= MAX_ID ? id : undefined;
}
