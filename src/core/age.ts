import { ConfigError } from "./errors.ts";
import { Secret } from "./secret.ts";

/** Most bytes of one secret: a single chunk of age's payload, so that it is never decrypted in parts. */
export const MAX_SECRET_BYTES = 64 * 1024;

/**
 * Encrypts to every recipient (`age1…`) in the age v1 format (age-encryption.org/v1) and returns it armored, with a final
 * newline; stock `age -d` opens it. Throws ConfigError `no-recipients`, `secret-too-long`.
 *
 * The caller still owns `plain`. The library copies it into a chunk buffer of its own and derives keys that it does not
 * wipe; they stay in the process's memory until the collector reuses it. It is loaded at the first call: it costs some
 * 50 ms, and a master that only opens secrets never needs it.
 */
export async function encryptAge(plain: Uint8Array | Secret, recipients: readonly string[]): Promise<string> {
  const bytes = plain instanceof Secret ? plain.expose() : plain;
  if (recipients.length === 0) throw new ConfigError("no-recipients", "cannot encrypt a secret: no recipient is named");
  if (bytes.length > MAX_SECRET_BYTES) {
    throw new ConfigError("secret-too-long", `cannot encrypt a secret of ${bytes.length} bytes: at most 65536`);
  }
  const { Encrypter, armor } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of new Set(recipients)) encrypter.addRecipient(recipient);
  return armor.encode(await encrypter.encrypt(bytes));
}
