import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { BugError } from "../errors.ts";
import { KeyCache } from "./key-cache.ts";
import { parsePublicKey } from "./public-key.ts";
import { sodium } from "./sodium.ts";

// DER headers around the raw 32 bytes (RFC 8410 sections 4 and 7)
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

export const SIGNATURE_BYTES = 64;
export const SIGN_KEY_BYTES = 32;

/** An Ed25519 key pair (RFC 8032). The private half stays inside OpenSSL's memory. */
export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The detached signature, 64 bytes; the same bytes as `nacl.sign.detached`. */
  sign(message: Uint8Array): Buffer;
}

/** The key pair of a 32-byte seed, as `nacl.sign.keyPair.fromSeed`. The caller wipes the seed. */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  if (seed.length !== SIGN_KEY_BYTES)
    throw new BugError("bad-seed", `cannot make a signing key of ${seed.length} bytes`);
  const der = Buffer.concat([PKCS8, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  const publicKey = rawPublicKey(createPublicKey(key));
  return { publicKey, sign: (message) => sign(null, message, key) };
}

// one entry a live peer
const publicKeys = new KeyCache<KeyObject>(10_000, (raw) => parsePublicKey(SPKI, raw));

/** Whether the signature is the key's over the message. Never throws: malformed keys and signatures are false. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== SIGN_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, message, publicKeys.get(publicKey), signature);
}

/**
 * As `verifySignature`, but on this thread for no longer than need be, for a master, which verifies with each lease: by
 * libsodium, or on a thread of libuv's pool. The bytes are read or copied before it returns.
 */
export async function verifyQuickly(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (publicKey.length !== SIGN_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const native = sodium();
  if (native) return native.crypto_sign_verify_detached(signature, message, publicKey);
  return new Promise((resolve) => {
    verify(null, message, publicKeys.get(publicKey), signature, (error, isValid) => resolve(error === null && isValid));
  });
}

function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "spki" }).subarray(SPKI.length);
}
