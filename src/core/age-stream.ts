import { createCipheriv, randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { encryptAge } from "./age.ts";
import { ageHkdf, unseal, unwrapFileKey } from "./age-decrypt.ts";
import { type AgeFile, broken, parseAgeBytes, parseAgeText } from "./age-file.ts";
import type { AgeIdentity } from "./age-identity.ts";
import { equalBytes, hmacSha256 } from "./crypto/hash.ts";
import { ProtocolError } from "./errors.ts";

const NONCE_BYTES = 16;
const TAG_BYTES = 16;
const CHUNK_BYTES = 64 * 1024;
const NO_BYTES = Buffer.alloc(0);

/** 11 bytes that count the chunks, then whether it is the last one (age-encryption.org/v1, payload). */
function nonceOf(index: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/**
 * Encrypts many bytes to every recipient in the age v1 format, binary; stock `age -d` opens it. `identity` must be one of
 * the recipients: the file key comes through it. Lets others work between chunks, since a header may have 20 MiB.
 * Throws ConfigError `no-recipients`.
 */
export async function encryptAgeBytes(
  plain: Uint8Array,
  recipients: readonly string[],
  identity: AgeIdentity,
): Promise<Buffer> {
  // the library makes the header, with a file key of its own, for a payload of no bytes that is not used
  const { header, fileKey } = open(parseAgeText(await encryptAge(NO_BYTES, recipients)), identity);
  const nonce = randomBytes(NONCE_BYTES);
  const key = ageHkdf(fileKey, nonce, "payload");
  fileKey.fill(0);
  const parts = [header, nonce];
  try {
    const chunks = Math.max(1, Math.ceil(plain.length / CHUNK_BYTES));
    for (let index = 0; index < chunks; index += 1) {
      const options = { authTagLength: TAG_BYTES };
      const cipher = createCipheriv("chacha20-poly1305", key, nonceOf(index, index === chunks - 1), options);
      parts.push(cipher.update(plain.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)));
      cipher.final();
      parts.push(cipher.getAuthTag());
      await setImmediate();
    }
  } finally {
    key.fill(0);
  }
  return Buffer.concat(parts);
}

/**
 * Opens a binary age file of at most `maxBytes` with an X25519 identity. The caller wipes what it gets. Throws ProtocolError
 * `not-a-recipient`, `bad-age-file`.
 */
export async function decryptAgeBytes(file: Buffer, identity: AgeIdentity, maxBytes: number): Promise<Buffer> {
  // each chunk carries a tag of its own
  const overhead = Math.ceil(maxBytes / CHUNK_BYTES) * TAG_BYTES;
  const { payload, fileKey } = open(parseAgeBytes(file, maxBytes + overhead), identity);
  const key = ageHkdf(fileKey, payload.subarray(0, NONCE_BYTES), "payload");
  fileKey.fill(0);
  const plain: Buffer[] = [];
  try {
    const sealed = payload.subarray(NONCE_BYTES);
    const span = CHUNK_BYTES + TAG_BYTES;
    const chunks = Math.max(1, Math.ceil(sealed.length / span));
    for (let index = 0; index < chunks; index += 1) {
      const chunk = sealed.subarray(index * span, (index + 1) * span);
      const opened = chunk.length < TAG_BYTES ? undefined : unseal(key, nonceOf(index, index === chunks - 1), chunk);
      if (opened === undefined) throw broken("it was changed after it was written");
      plain.push(opened);
      await setImmediate();
    }
    return Buffer.concat(plain);
  } finally {
    key.fill(0);
    for (const part of plain) part.fill(0);
  }
}

/** The file key, once the header's MAC is proven. */
function open(file: AgeFile, identity: AgeIdentity): AgeFile & { readonly fileKey: Buffer } {
  const fileKey = unwrapFileKey(identity, file);
  if (!fileKey) {
    throw new ProtocolError("not-a-recipient", "cannot open age ciphertext: it was not encrypted to this identity");
  }
  const macKey = ageHkdf(fileKey, NO_BYTES, "header");
  const isAuthentic = equalBytes(hmacSha256(macKey, file.covered), file.mac);
  macKey.fill(0);
  if (!isAuthentic) throw broken("it was changed after it was written");
  return { ...file, fileKey };
}
