import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from "node:crypto";
import { ProtocolError } from "../errors.ts";

export const AEAD_KEY_BYTES = 32;
export const AEAD_NONCE_BYTES = 12;
export const AEAD_TAG_BYTES = 16;

// Keys go in as key objects: node finds out by exceptions that a buffer is none, which costs three times the sealing.
const OPTIONS = { authTagLength: AEAD_TAG_BYTES } as const;

/** A key for `aeadSeal` and `aeadOpen`; one that is used again and again is best imported once, by `aeadKey`. */
export type AeadKey = Uint8Array | KeyObject;

/** A key inside OpenSSL's memory: a copy of its own, overwritten when nothing refers to it any more. */
export function aeadKey(key: Uint8Array): KeyObject {
  return createSecretKey(key);
}

const imported = (key: AeadKey) => (key instanceof Uint8Array ? createSecretKey(key) : key);

/**
 * AES-256-GCM (NIST SP 800-38D): the ciphertext and its 16-byte tag, with `header` in clear before them in the same
 * buffer. Only `ad` is authenticated besides the plaintext: a header that matters goes in there too.
 */
export function aeadSeal(
  key: AeadKey,
  nonce: Uint8Array,
  ad: Uint8Array,
  plaintext: Uint8Array,
  header: Uint8Array = EMPTY,
): Buffer {
  const cipher = createCipheriv("aes-256-gcm", imported(key), nonce, OPTIONS);
  if (ad.length > 0) cipher.setAAD(ad);
  const body = cipher.update(plaintext);
  cipher.final();
  const out = Buffer.allocUnsafeSlow(header.length + body.length + AEAD_TAG_BYTES);
  out.set(header, 0);
  out.set(body, header.length);
  out.set(cipher.getAuthTag(), header.length + body.length);
  return out;
}

/** The plaintext. Throws ProtocolError `bad-seal` when key, nonce, associated data or bytes are not those sealed. */
export function aeadOpen(key: AeadKey, nonce: Uint8Array, ad: Uint8Array, sealed: Uint8Array): Buffer {
  const end = sealed.length - AEAD_TAG_BYTES;
  if (end < 0) throw new ProtocolError("bad-seal", "cannot open a sealed message: it is too short");
  const decipher = createDecipheriv("aes-256-gcm", imported(key), nonce, OPTIONS);
  decipher.setAuthTag(sealed.subarray(end));
  if (ad.length > 0) decipher.setAAD(ad);
  const plaintext = decipher.update(sealed.subarray(0, end));
  try {
    decipher.final();
  } catch (cause) {
    plaintext.fill(0);
    throw new ProtocolError("bad-seal", "cannot open a sealed message: it was not sealed with this key", { cause });
  }
  return plaintext;
}

const EMPTY = new Uint8Array(0);
