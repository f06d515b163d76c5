/**
 * Why a key is leased. `open`: unlock a volume. `format`: make it. `rotate`: add or remove keyslots, re-encrypt. `check`:
 * test the stored key against the header, no mapping touched. `grow`: tell the mapping its new size. `recovery`: add a
 * human's passphrase.
 */
export const LEASE_PURPOSES = ["open", "format", "rotate", "check", "grow", "recovery"] as const;
export type LeasePurpose = (typeof LEASE_PURPOSES)[number];

/** Whether a word names a purpose. */
export function isLeasePurpose(word: string): word is LeasePurpose {
  return LEASE_PURPOSES.some((purpose) => purpose === word);
}
