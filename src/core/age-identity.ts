import { randomBytes } from "node:crypto";
import { decodeBech32, encodeBech32 } from "./bech32.ts";
import { type DhKey, dhKeyFromSecret } from "./crypto/x25519.ts";
import { ConfigError } from "./errors.ts";
import { Secret } from "./secret.ts";

const IDENTITY_PREFIX = "age-secret-key-";
const RECIPIENT_PREFIX = "age";

/** An X25519 identity of age: the private half stays inside OpenSSL's memory. */
export interface AgeIdentity {
  readonly key: DhKey;
  /** `age1…`, as given to `age -r`. */
  readonly recipient: string;
  /** Those that it replaces: they open what is not encrypted anew yet, and nothing is encrypted to them. */
  readonly older?: readonly AgeIdentity[];
}

function identityOf(scalar: Buffer): AgeIdentity {
  const key = dhKeyFromSecret(scalar);
  return { key, recipient: encodeBech32(RECIPIENT_PREFIX, key.publicKey).toString("latin1") };
}

/**
 * A new identity file as `age-keygen` writes it (`# public key: age1…`, then `AGE-SECRET-KEY-1…`), so that `age -d -i file`
 * works. `created` is an ISO time for the comment.
 */
export function generateAgeIdentityFile(created: string): Secret {
  const scalar = randomBytes(32);
  const { recipient } = identityOf(scalar);
  const key = encodeBech32(IDENTITY_PREFIX, scalar);
  for (const [index, code] of key.entries()) if (code >= 97 && code <= 122) key[index] = code - 32;
  const file = Buffer.concat([
    Buffer.from(`# created: ${created}\n# public key: ${recipient}\n`),
    key,
    Buffer.from("\n"),
  ]);
  scalar.fill(0);
  key.fill(0);
  return Secret.take(file);
}

function* linesOf(bytes: Buffer): Generator<Buffer> {
  let start = 0;
  while (start < bytes.length) {
    const found = bytes.indexOf(0x0a, start);
    const end = found < 0 ? bytes.length : found;
    const carriage = end > start && bytes[end - 1] === 0x0d ? 1 : 0;
    yield bytes.subarray(start, end - carriage);
    start = end + 1;
  }
}

const isIdentityLine = (line: Buffer) => line.length > 0 && line[0] !== 0x23;

/**
 * Reads an identity file: each line that is neither empty nor a comment must be an X25519 identity, the newest first. Throws
 * ConfigError `bad-age-identity`, naming `file`.
 */
export function parseAgeIdentityFile(content: Secret, file: string): AgeIdentity {
  const [line, ...more] = [...linesOf(content.expose())].filter(isIdentityLine);
  const newest = parseIdentity(line, file);
  return more.length === 0 ? newest : { ...newest, older: more.map((each) => parseIdentity(each, file)) };
}

/** The part of an identity file that its newest identity is, with the comments above it. The caller wipes it. */
export function newestOfFile(content: Secret): Secret {
  const bytes = content.expose();
  const line = [...linesOf(bytes)].find(isIdentityLine);
  const end = line === undefined ? bytes.length : line.byteOffset - bytes.byteOffset + line.length;
  return Secret.take(Buffer.concat([bytes.subarray(0, end), Buffer.from("\n")]));
}

function parseIdentity(line: Buffer | undefined, file: string): AgeIdentity {
  let scalar: Buffer | undefined;
  try {
    scalar = decodeBech32(IDENTITY_PREFIX, line ?? Buffer.alloc(0));
    if (scalar.length !== 32) throw new RangeError(`${scalar.length} bytes in place of 32`);
    return identityOf(scalar);
  } catch (error) {
    throw new ConfigError(
      "bad-age-identity",
      `cannot read age identity file "${file}": no AGE-SECRET-KEY-1… line in it`,
      {
        cause: error,
        hint: "only X25519 identities as age-keygen writes them are supported",
        facts: { file },
      },
    );
  } finally {
    scalar?.fill(0);
  }
}

/** Throws ConfigError `bad-recipient` unless the text is an X25519 recipient (`age1…`). */
export function assertAgeRecipient(recipient: string): string {
  try {
    if (decodeBech32(RECIPIENT_PREFIX, Buffer.from(recipient)).length === 32) return recipient;
  } catch {
    // said below, in words of the configuration
  }
  throw new ConfigError("bad-recipient", `cannot use recipient "${recipient}": not an age X25519 recipient`, {
    hint: "it is the text after `# public key:` in a file made by age-keygen",
  });
}
