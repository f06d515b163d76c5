import { createCipheriv, randomBytes, scrypt } from "node:crypto";
import { openPayload, unseal } from "./age-decrypt.ts";
import { type AgeFile, broken, parseAgeBytes, parseAgeText } from "./age-file.ts";
import { ConfigError } from "./errors.ts";
import type { Secret } from "./secret.ts";

const LABEL = "age-encryption.org/v1/scrypt";
/** What `age -p` takes on a fast machine: about a second, 256 MiB. */
const WORK_FACTOR = 18;
/** More would let a file take gigabytes of memory. */
const MAX_WORK_FACTOR = 20;
const BINARY = "age-encryption.org/v1\n";
const ARMORED = "-----BEGIN AGE ";

/** Whether these bytes are an age file, armored or not, rather than something in plain. */
export function isAgeFile(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.subarray(0, BINARY.length)).toString("latin1");
  return start === BINARY || start.startsWith(ARMORED);
}

async function wrappingKey(passphrase: Secret, salt: Buffer, logN: number): Promise<Buffer> {
  const N = 2 ** logN;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  scrypt(
    passphrase.expose(),
    Buffer.concat([Buffer.from(LABEL), salt]),
    32,
    { N, r: 8, p: 1, maxmem: 2 * 128 * 8 * N },
    (error, key) => (error ? reject(error) : resolve(key)),
  );
  return promise;
}

/**
 * Encrypts to a passphrase as `age -p -a` does, armored; stock `age -d` asks for it. `workFactor` is the base-2 logarithm
 * of scrypt's cost. The passphrase stays in a buffer; the caller still owns both.
 */
export async function encryptWithPassphrase(
  plain: Secret,
  passphrase: Secret,
  workFactor: number = WORK_FACTOR,
): Promise<string> {
  const { Encrypter, Stanza, armor } = await import("age-encryption");
  const encrypter = new Encrypter();
  encrypter.addRecipient({
    wrapFileKey: async (fileKey) => {
      const salt = randomBytes(16);
      const key = await wrappingKey(passphrase, salt, workFactor);
      const cipher = createCipheriv("chacha20-poly1305", key, Buffer.alloc(12), { authTagLength: 16 });
      const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
      key.fill(0);
      return [new Stanza(["scrypt", salt.toString("base64").replace(/=+$/u, ""), String(workFactor)], body)];
    },
  });
  return armor.encode(await encrypter.encrypt(plain.expose()));
}

function parse(bytes: Buffer): AgeFile {
  return bytes.toString("latin1", 0, ARMORED.length) === ARMORED
    ? parseAgeText(bytes.toString("latin1"))
    : parseAgeBytes(bytes);
}

/**
 * Opens an age file, armored or binary, with its passphrase. Throws ConfigError `wrong-passphrase`, ProtocolError
 * `bad-age-file` when it is damaged, not for a passphrase, or made to cost more than 1 GiB of memory.
 */
export async function decryptWithPassphrase(content: Uint8Array, passphrase: Secret): Promise<Secret> {
  const file = parse(Buffer.from(content));
  if (!file.scrypt) throw broken("it is not encrypted to a passphrase");
  const { salt, logN, body } = file.scrypt;
  if (logN > MAX_WORK_FACTOR) throw broken(`its work factor ${logN} is above ${MAX_WORK_FACTOR}`);
  const key = await wrappingKey(passphrase, salt, logN);
  const fileKey = unseal(key, Buffer.alloc(12), body);
  key.fill(0);
  if (fileKey) return openPayload(file, fileKey);
  throw new ConfigError("wrong-passphrase", "cannot open the age file: the passphrase is wrong");
}
