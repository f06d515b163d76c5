import { randomBytes } from "node:crypto";

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const GROUPS = [6, 4, 4, 4, 4, 4, 6] as const;

/** An LVM UUID as its tools print it: `6-4-4-4-4-4-6` characters (lib/uuid/uuid.c). */
export const LVM_UUID = /^[0-9A-Za-z]{6}(?:-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}$/u;

/** The 32 characters of an on-disk LVM UUID with its dashes. */
export function dashLvmUuid(plain: string): string {
  let at = 0;
  return GROUPS.map((length) => plain.slice(at, (at += length))).join("-");
}

/** A new random LVM UUID. */
export function newLvmUuid(): string {
  let plain = "";
  while (plain.length < 32) {
    for (const byte of randomBytes(64)) {
      // 248 is the largest multiple of 62 in a byte: every character equally likely
      if (byte < 248 && plain.length < 32) plain += ALPHABET[byte % 62] ?? "";
    }
  }
  return dashLvmUuid(plain);
}
