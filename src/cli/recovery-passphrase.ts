import { randomBytes } from "node:crypto";
import { Secret } from "../core/secret.ts";

/** Crockford's base32: no letter that is taken for a digit, none twice in two cases. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const GROUPS = 7;
const GROUP_CHARACTERS = 4;

/**
 * A passphrase that a person can type: seven groups of four characters, 140 random bits, with a dash between two groups.
 * The bytes are in the secret alone; the caller wipes it.
 */
export function makePassphrase(): Secret {
  const random = randomBytes(GROUPS * GROUP_CHARACTERS);
  const text = Buffer.alloc(GROUPS * (GROUP_CHARACTERS + 1) - 1, "-");
  for (const [index, byte] of random.entries()) {
    const at = index + Math.floor(index / GROUP_CHARACTERS);
    // 256 is a multiple of 32: every character is as likely as any other
    text[at] = ALPHABET.charCodeAt(byte % ALPHABET.length);
  }
  random.fill(0);
  return Secret.take(text);
}
