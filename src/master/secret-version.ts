import { z } from "../core/schema.ts";
import type { Entry } from "./store/store.ts";

const VERSION_DIGITS = 6;

/** Below it, everything about secrets: `secret/<minion id>/<pillar path>/<version>`. */
export const SECRETS_PREFIX = "secret/";

/** The schema of a stored version. */
export const versionSchema = z.strictObject({
  version: z.number().int().positive(),
  /**
   * `generated`: made by the master. `imported`: moved here from the pillar. `escrow`: a copy of what the pillar said when
   * it was leased or changed. `sealed`: ciphertext that left the pillar and was never opened.
   */
  origin: z.enum(["generated", "imported", "escrow", "sealed"]),
  createdAt: z.number().int(),
  /** Keyed digest of the value, hex: finds an equal value without opening any. "" for one that was never opened. */
  digest: z.string().regex(/^(?:[0-9a-f]{64})?$/u),
  /** age, armored, to the master and every recovery recipient. */
  armored: z.string().min(1),
  /** The volume that it was for was removed: it is not leased any more, and stays for an operator to take it back. */
  forgotten: z.literal(true).optional(),
  /** Name of the set of recipients (`recipientSetId`); "" when it is not known. */
  recipients: z.string().default(""),
});
/** One version of a secret as the store keeps it; its value never changes, and nothing but a final erase removes it (I3). */
export type SecretVersion = z.infer<typeof versionSchema>;

/** A version as lists of them tell it. */
export interface ListedVersion extends SecretVersion {
  /** Minted for a rotation and not (or no longer) what a `!generate` stands for. */
  readonly aside?: true;
}

/** A version where it is stored. */
export interface StoredVersion {
  readonly entry: Entry;
  readonly id: string;
  readonly path: string;
  readonly version: SecretVersion;
}

/** Whether a `!generate` of the pillar can stand for a version of this origin: it lives in the store alone. */
export const isOfStore = ({ origin }: Pick<SecretVersion, "origin">): boolean =>
  origin === "generated" || origin === "imported";

/**
 * The version that a `!generate` of the pillar stands for: the last of the store's own that no rotation has set aside and
 * that is not forgotten.
 */
export function currentOf(versions: readonly ListedVersion[]): SecretVersion | undefined {
  return versions.findLast((version) => isOfStore(version) && version.aside !== true && version.forgotten !== true);
}

/** Where one version is stored. */
export function versionKey(minionId: string, path: string, version: number): string {
  return `${versionsPrefix(minionId, path)}${String(version).padStart(VERSION_DIGITS, "0")}`;
}

/** Below it, every version of one secret, in order of their numbers. */
export function versionsPrefix(minionId: string, path: string): string {
  return `${SECRETS_PREFIX}${minionId}/${encodeURIComponent(path)}/`;
}
