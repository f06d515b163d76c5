import { BugError, ProtocolError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { BOX_NONCE_BYTES, openBox, sealBox } from "./box.ts";
import { randomNonce } from "./random.ts";
import type { DhKey } from "./x25519.ts";

/**
 * Secrets are padded to a multiple of this before sealing. It hides their length, and keeps every buffer they pass
 * through above the 64 bytes up to which V8 stores typed arrays inside its own heap, where the garbage collector copies
 * them about and a wipe misses the copies.
 */
export const SECRET_BLOCK_BYTES = 256;
const LENGTH_BYTES = 4;
const MAX_SECRET_BYTES = 1024 * 1024;

/**
 * Seals a secret from the master to a key that the minion made for one lease: a random 24-byte nonce, then the NaCl box
 * of the padded secret (its length in 4 bytes, big-endian, the bytes, zeros up to a multiple of 256). Throws
 * ProtocolError `weak-key`.
 */
export function sealSecret(secret: Secret, master: DhKey, ephemeral: Uint8Array): Buffer {
  if (secret.length > MAX_SECRET_BYTES) throw new BugError("secret-too-long", "cannot seal a secret over 1 MiB");
  const size = Math.ceil((LENGTH_BYTES + secret.length) / SECRET_BLOCK_BYTES) * SECRET_BLOCK_BYTES;
  const padded = Buffer.allocUnsafeSlow(size).fill(0);
  padded.writeUInt32BE(secret.length, 0);
  padded.set(secret.expose(), LENGTH_BYTES);
  const nonce = randomNonce(BOX_NONCE_BYTES);
  try {
    return Buffer.concat([nonce, sealBox(padded, nonce, ephemeral, master)]);
  } finally {
    padded.fill(0);
  }
}

/**
 * Opens what `sealSecret` made: the only copy of the bytes is in the returned Secret. Throws ProtocolError `bad-box`,
 * `bad-padding`, `weak-key`.
 */
export function openSealed(sealed: Uint8Array, ephemeral: DhKey, master: Uint8Array): Secret {
  const nonce = sealed.subarray(0, BOX_NONCE_BYTES);
  const padded = openBox(sealed.subarray(BOX_NONCE_BYTES), nonce, master, ephemeral);
  try {
    const length = padded.length < LENGTH_BYTES ? -1 : padded.readUInt32BE(0);
    if (padded.length % SECRET_BLOCK_BYTES !== 0 || length < 0 || length > padded.length - LENGTH_BYTES) {
      throw new ProtocolError("bad-padding", "cannot open a sealed secret: its padding is wrong");
    }
    return Secret.take(padded.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
  } finally {
    padded.fill(0);
  }
}
