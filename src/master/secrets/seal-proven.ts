import { decryptAge } from "../../core/age-decrypt.ts";
import type { AgeIdentity } from "../../core/age-identity.ts";
import { encryptAge } from "../../core/age.ts";
import { equalBytes } from "../../core/crypto/hash.ts";
import { HostError } from "../../core/errors.ts";
import type { Secret } from "../../core/secret.ts";
import { newestOf } from "../identity-ring.ts";

/**
 * Ciphertext of a value for these recipients, opened and compared before anybody relies on it. Throws HostError `rekey-failed` when it does
 * not open to the same.
 */
export async function sealProven(plain: Secret, recipients: readonly string[], identity: AgeIdentity): Promise<string> {
  const armored = await encryptAge(plain, recipients);
  using opened = decryptAge(armored, newestOf(identity));
  if (equalBytes(opened.expose(), plain.expose())) return armored;
  throw new HostError("rekey-failed", "cannot encrypt a secret anew: it does not open to the same value");
}
