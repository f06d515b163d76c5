import { randomBytes, scrypt } from "node:crypto";
import { aeadOpen, aeadSeal, AEAD_NONCE_BYTES } from "./crypto/aead.ts";
import { SIGN_KEY_BYTES, type SigningKey, signingKeyFromSeed } from "./crypto/ed25519.ts";
import { AuthError, ConfigError, ProtocolError } from "./errors.ts";
import { z } from "./schema.ts";
import { Secret } from "./secret.ts";

interface ScryptCost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/** Cost of the passphrase: 128 MiB and some 0.4 s a try (RFC 7914, N = 2^17, r = 8, p = 1). */
const SCRYPT: ScryptCost = { N: 131_072, r: 8, p: 1 };
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const AD = Buffer.from("latchkey operator key v1\0", "latin1");
const PUBLIC_WORD = "latchkey-operator-ed25519";

const fileSchema = z.strictObject({
  kind: z.literal("latchkey operator key"),
  version: z.literal(1),
  publicKey: z.base64().length(44),
  scrypt: z.strictObject({
    n: z.number().int().min(1024).max(1_048_576),
    r: z.number().int().min(1).max(16),
    p: z.number().int().min(1).max(4),
    salt: z.base64(),
  }),
  nonce: z.base64(),
  sealed: z.base64(),
});

async function stretch(passphrase: Secret, salt: Uint8Array, { N, r, p }: ScryptCost): Promise<Secret> {
  const { promise, resolve, reject } = Promise.withResolvers<Secret>();
  const maxmem = 256 * N * r;
  scrypt(passphrase.expose(), salt, KEY_BYTES, { N, r, p, maxmem }, (error, key) => {
    if (error) reject(error);
    else resolve(Secret.take(key));
  });
  return promise;
}

/**
 * A new operator key: the text of its file, the private half sealed with AES-256-GCM under the passphrase, and its public
 * key, 32 bytes. The passphrase stays the caller's, who wipes it.
 */
export async function makeOperatorKey(
  passphrase: Secret,
  cost: ScryptCost = SCRYPT,
): Promise<{ readonly text: string; readonly publicKey: Uint8Array }> {
  using seed = Secret.take(randomBytes(SIGN_KEY_BYTES));
  const { publicKey } = signingKeyFromSeed(seed.expose());
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(AEAD_NONCE_BYTES);
  using key = await stretch(passphrase, salt, cost);
  const sealed = aeadSeal(key.expose(), nonce, Buffer.concat([AD, publicKey]), seed.expose());
  const file: z.infer<typeof fileSchema> = {
    kind: "latchkey operator key",
    version: 1,
    publicKey: Buffer.from(publicKey).toString("base64"),
    scrypt: { n: cost.N, r: cost.r, p: cost.p, salt: salt.toString("base64") },
    nonce: nonce.toString("base64"),
    sealed: sealed.toString("base64"),
  };
  return { text: `${JSON.stringify(file, null, 2)}\n`, publicKey };
}

/**
 * The signing key in an operator's key file. Throws ConfigError `bad-operator-key` for another kind of file, AuthError
 * `wrong-passphrase`.
 */
export async function openOperatorKey(text: string, passphrase: Secret): Promise<SigningKey> {
  let file: z.infer<typeof fileSchema>;
  try {
    file = fileSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new ConfigError("bad-operator-key", "cannot use the operator key: it is no key file of latchkey", {
      cause,
      hint: "make one with `latchkey operator keygen`",
    });
  }
  const { n, r, p, salt } = file.scrypt;
  using key = await stretch(passphrase, Buffer.from(salt, "base64"), { N: n, r, p });
  const ad = Buffer.concat([AD, Buffer.from(file.publicKey, "base64")]);
  try {
    const opened = aeadOpen(key.expose(), Buffer.from(file.nonce, "base64"), ad, Buffer.from(file.sealed, "base64"));
    using seed = Secret.take(opened);
    return signingKeyFromSeed(seed.expose());
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new AuthError("wrong-passphrase", "cannot open the operator key: the passphrase is wrong", { cause });
  }
}

/** The one line of a public key file. */
export function publicKeyLine(publicKey: Uint8Array, comment: string): string {
  return `${PUBLIC_WORD} ${Buffer.from(publicKey).toString("base64")} ${comment}\n`;
}

/** The public key (base64) of such a line. Throws ConfigError `bad-operator-key`. */
export function readPublicKeyLine(text: string): string {
  const [word, key = ""] = text.trim().split(/\s+/u);
  if (word === PUBLIC_WORD && /^[A-Za-z0-9+/]{43}=$/u.test(key)) return key;
  throw new ConfigError("bad-operator-key", "cannot use the public key: it is no line of latchkey's", {
    hint: "`latchkey operator keygen` writes it beside the key, in a file that ends in .pub",
  });
}
