import { createDecipheriv } from "node:crypto";
import { type AgeFile, broken, parseAgeText } from "./age-file.ts";
import type { AgeIdentity } from "./age-identity.ts";
import { equalBytes, hkdfSha256, hmacSha256 } from "./crypto/hash.ts";
import { ProtocolError } from "./errors.ts";
import { Secret } from "./secret.ts";

const TAG_BYTES = 16;
const NONCE_BYTES = 16;
const NO_BYTES = Buffer.alloc(0);

/** HKDF-SHA-256 to 32 bytes, as the age format uses it throughout. */
export function ageHkdf(key: Buffer, salt: Buffer, info: string): Buffer {
  return hkdfSha256(key, salt, Buffer.from(info), 32);
}

/** ChaCha20-Poly1305 of age's own use; undefined when the tag does not match. */
export function unseal(key: Buffer, nonce: Buffer, sealed: Buffer): Buffer | undefined {
  const decipher = createDecipheriv("chacha20-poly1305", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const plain = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
    return plain;
  } catch {
    plain.fill(0);
    return undefined;
  }
}

/**
 * The file key that one of the stanzas holds for this identity, or for one that it replaces; undefined when none does. The
 * caller wipes it.
 */
export function unwrapFileKey(identity: AgeIdentity, file: AgeFile): Buffer | undefined {
  for (const each of [identity, ...(identity.older ?? [])]) {
    const fileKey = unwrapWith(each, file);
    if (fileKey) return fileKey;
  }
  return undefined;
}

function unwrapWith(identity: AgeIdentity, { stanzas }: AgeFile): Buffer | undefined {
  for (const { share, body } of stanzas) {
    const shared = identity.key.agree(share);
    const key = ageHkdf(shared, Buffer.concat([share, identity.key.publicKey]), "age-encryption.org/v1/X25519");
    const fileKey = unseal(key, Buffer.alloc(12), body);
    shared.fill(0);
    key.fill(0);
    if (fileKey) return fileKey;
  }
  return undefined;
}

/**
 * Opens armored age text of at most 64 KiB with an X25519 identity. Everything derived on the way is wiped. Throws
 * ProtocolError `bad-age-file` or `weak-key` when it is damaged, `not-a-recipient` when it was encrypted to others.
 *
 * This is the hot path of a lease, so the arithmetic is node:crypto's (C2SP specification age.md); tests prove it against
 * both the library and the `age` program.
 */
export function decryptAge(armored: string, identity: AgeIdentity): Secret {
  const file = parseAgeText(armored);
  const fileKey = unwrapFileKey(identity, file);
  if (!fileKey) {
    throw new ProtocolError("not-a-recipient", "cannot open age ciphertext: it was not encrypted to this identity", {
      hint: "encrypt it again to the master's recipient",
    });
  }
  return openPayload(file, fileKey);
}

/** Opens a file whose file key is known, and wipes the file key. Throws ProtocolError `bad-age-file` when it was changed. */
export function openPayload(file: AgeFile, fileKey: Buffer): Secret {
  const macKey = ageHkdf(fileKey, NO_BYTES, "header");
  const streamKey = ageHkdf(fileKey, file.payload.subarray(0, NONCE_BYTES), "payload");
  fileKey.fill(0);
  const authentic = equalBytes(hmacSha256(macKey, file.covered), file.mac);
  macKey.fill(0);
  // the nonce of a stream's only chunk: counter 0, then the flag of the last chunk
  const nonce = Buffer.concat([Buffer.alloc(11), Buffer.of(1)]);
  const plain = authentic ? unseal(streamKey, nonce, file.payload.subarray(NONCE_BYTES)) : undefined;
  streamKey.fill(0);
  if (!plain) throw broken("it was changed after it was written");
  return Secret.take(plain);
}
