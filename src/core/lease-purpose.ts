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

/**
 * What a minion says became of a leased key; `used` where the word would say less than the purpose. `mounted` is said after
 * `opened` or `formatted`, in a receipt of its own: the file system on what the key opened or formatted is mounted.
 */
export const LEASE_OUTCOMES = ["opened", "formatted", "checked", "grown", "used", "failed", "mounted"] as const;
export type LeaseOutcome = (typeof LEASE_OUTCOMES)[number];
/** What a key did itself, as its first receipt says. */
export type UseOutcome = Exclude<LeaseOutcome, "mounted">;

/** What is done when the use of a key for this purpose ended well. */
export const OUTCOME_OF: Readonly<Record<LeasePurpose, UseOutcome>> = {
  open: "opened",
  format: "formatted",
  check: "checked",
  grow: "grown",
  rotate: "used",
  recovery: "used",
};
