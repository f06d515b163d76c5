import { sha256 } from "./crypto/hash.ts";
import { parseAgeText } from "./age-file.ts";
import { ProtocolError } from "./errors.ts";

/** A name for a set of recipients, whatever their order: 16 hex digits. */
export function recipientSetId(recipients: readonly string[]): string {
  const sorted = [...new Set(recipients)].sort();
  return sha256(Buffer.from(sorted.join("\n"))).toString("hex", 0, 8);
}

/**
 * To how many X25519 recipients armored text is encrypted; age does not tell to which. Throws ProtocolError
 * `bad-age-file` for anything that is no age file of at most 64 KiB.
 */
export function countRecipients(armored: string): number {
  return parseAgeText(armored).stanzas.length;
}

/** Whether text is an age file. Where ciphertext belongs, people also put plain text by mistake. */
export function isAgeText(text: string): boolean {
  try {
    parseAgeText(text);
    return true;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}
