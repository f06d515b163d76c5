import { DH_KEY_BYTES, type DhKey, dhKeyFromSecret } from "./crypto/x25519.ts";
import { SIGN_KEY_BYTES, type SigningKey, signingKeyFromSeed } from "./crypto/ed25519.ts";
import { equalBytes, hkdfSha256, sha256 } from "./crypto/hash.ts";
import { randomBytes } from "node:crypto";
import { BugError, ConfigError } from "./errors.ts";
import { Secret } from "./secret.ts";

/** The public half of a master's or minion's identity. Raw keys, 32 bytes each. */
export interface PublicIdentity {
  /** Ed25519: signs jobs, lease requests, receipts (RFC 8032). */
  readonly signKey: Uint8Array;
  /** X25519: the Noise static key (RFC 7748). */
  readonly dhKey: Uint8Array;
}

/** A master's or minion's own identity: two key pairs, private halves inside OpenSSL's memory. */
export interface Identity {
  readonly public: PublicIdentity;
  readonly sign: SigningKey;
  readonly dh: DhKey;
  /** As `fingerprint(public)`. */
  readonly fingerprint: string;
  /**
   * A 32-byte key for one named purpose of the owner (HKDF-SHA-256 of both private keys, the purpose as info): the same
   * on every start, unrelated to the keys of the wire and to those of other purposes.
   */
  derive(purpose: string): Secret;
}

/** Bytes of an identity's private keys: Ed25519 seed, X25519 secret. */
export const IDENTITY_SECRET_BYTES = SIGN_KEY_BYTES + DH_KEY_BYTES;

/** Bytes of `packPublicIdentity`. */
export const PUBLIC_IDENTITY_BYTES = SIGN_KEY_BYTES + DH_KEY_BYTES;

const FINGERPRINT_TAG = Buffer.from("latchkey fingerprint v1\0", "latin1");
const DERIVE_TAG = Buffer.from("latchkey derive v1\0", "latin1");

/** The private keys of a new identity, from the operating system's random source. */
export function generateIdentitySecret(): Secret {
  return Secret.take(randomBytes(IDENTITY_SECRET_BYTES));
}

/** The identity of 64 private bytes. The secret stays the caller's, who wipes it. */
export function identityFromSecret(secret: Secret): Identity {
  const bytes = secret.expose();
  if (bytes.length !== IDENTITY_SECRET_BYTES) {
    throw new BugError("bad-identity", `cannot make an identity of ${bytes.length} bytes`);
  }
  const sign = signingKeyFromSeed(bytes.subarray(0, SIGN_KEY_BYTES));
  const dh = dhKeyFromSecret(bytes.subarray(SIGN_KEY_BYTES));
  const root = hkdfSha256(bytes, DERIVE_TAG, Buffer.from("root"), 32);
  const pair = { signKey: sign.publicKey, dhKey: dh.publicKey };
  return {
    public: pair,
    sign,
    dh,
    fingerprint: fingerprint(pair),
    derive: (purpose) => Secret.take(hkdfSha256(root, DERIVE_TAG, Buffer.from(purpose), 32)),
  };
}

/** An identity for the life of the process. */
export function generateIdentity(): Identity {
  using secret = generateIdentitySecret();
  return identityFromSecret(secret);
}

/** Whether both keys are the same; constant time. */
export function sameIdentity(a: PublicIdentity, b: PublicIdentity): boolean {
  return equalBytes(packPublicIdentity(a), packPublicIdentity(b));
}

/** The two public keys, Ed25519 first: 64 bytes. */
export function packPublicIdentity(identity: PublicIdentity): Buffer {
  return Buffer.concat([identity.signKey, identity.dhKey]);
}

/** Reverses `packPublicIdentity`; undefined for another length. The keys are copies. */
export function unpackPublicIdentity(bytes: Uint8Array): PublicIdentity | undefined {
  if (bytes.length !== PUBLIC_IDENTITY_BYTES) return undefined;
  return {
    signKey: Buffer.from(bytes.subarray(0, SIGN_KEY_BYTES)),
    dhKey: Buffer.from(bytes.subarray(SIGN_KEY_BYTES)),
  };
}

/**
 * What people compare: SHA-256 over a tag and both public keys as base32 in lower case, 13 groups of 4 letters:
 * `SHA256:mfrg-gzdf-…`. This one form is printed, configured and stored everywhere.
 */
export function fingerprint(identity: PublicIdentity): string {
  const known = fingerprints.get(identity);
  if (known !== undefined) return known;
  const letters = base32(sha256(Buffer.concat([FINGERPRINT_TAG, packPublicIdentity(identity)])));
  const made = `SHA256:${letters.match(/.{4}/gu)?.join("-") ?? ""}`;
  fingerprints.set(identity, made);
  return made;
}

// a session's peer is asked for it with each lease
const fingerprints = new WeakMap<PublicIdentity, string>();

/**
 * A fingerprint as a person wrote it (any case, with or without prefix and dashes) in the one form. Throws ConfigError
 * `bad-fingerprint`.
 */
export function parseFingerprint(text: string): string {
  const letters = text
    .trim()
    .toLowerCase()
    .replace(/^sha256:/u, "")
    .replaceAll(/[-:\s]/gu, "");
  if (!/^[a-z2-7]{52}$/u.test(letters)) {
    throw new ConfigError("bad-fingerprint", `cannot read fingerprint "${text}"`, {
      hint: "copy it as the master prints it: SHA256: and 13 groups of 4 letters",
    });
  }
  return `SHA256:${letters.match(/.{4}/gu)?.join("-") ?? ""}`;
}

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** RFC 4648 section 6, lower case, no padding. */
function base32(bytes: Uint8Array): string {
  let bits = 0;
  let value = 0;
  let text = "";
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? text + ALPHABET[(value << (5 - bits)) & 31] : text;
}
