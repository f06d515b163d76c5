import { decryptAge } from "../../core/age-decrypt.ts";
import { recipientSetId } from "../../core/age-recipients.ts";
import { decryptAgeBytes, encryptAgeBytes } from "../../core/age-stream.ts";
import type { AgeIdentity } from "../../core/age-identity.ts";
import type { Secret } from "../../core/secret.ts";
import type { Secrets } from "../secrets.ts";

/** What escrow needs of the master's secrets; nothing that it hands out leaves the master. */
export interface Vault {
  /** Encrypts to the master's identity and every recovery recipient: a binary age file. */
  seal(plain: Uint8Array): Promise<Buffer>;
  /** Names those recipients (`recipientSetId`). */
  readonly recipientSet: string;
  /** The caller wipes it. Throws ProtocolError. */
  open(sealed: Buffer, maxBytes: number): Promise<Buffer>;
  /** A value that must not stay in memory: opened past the cache. The caller wipes it. Throws ProtocolError. */
  openOnce(armored: string): Secret;
  /** Numbers of the stored versions of a key, newest first. */
  versions(id: string, path: string): Promise<readonly number[]>;
  /** A stored version, for a proof; the caller wipes it. Undefined when there is none. */
  key(id: string, path: string, version: number): Promise<Secret | undefined>;
}

/** The vault over the master's secrets. */
export function vaultOf(secrets: Secrets, identity: AgeIdentity): Vault {
  return {
    seal: async (plain) => encryptAgeBytes(plain, secrets.versions.recipients, identity),
    get recipientSet() {
      return recipientSetId(secrets.versions.recipients);
    },
    open: async (sealed, maxBytes) => decryptAgeBytes(sealed, identity, maxBytes),
    openOnce: (armored) => decryptAge(armored, identity),
    versions: async (id, path) => {
      const newest = await secrets.versions.newest(id, path);
      return Array.from({ length: newest }, (_, index) => newest - index);
    },
    key: async (id, path, version) => {
      const stored = await secrets.versions.get(id, path, version);
      return stored && secrets.open(stored.armored);
    },
  };
}
