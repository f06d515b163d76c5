import { randomBytes } from "node:crypto";
import { encryptAge } from "../core/age.ts";
import { recipientSetId } from "../core/age-recipients.ts";
import type { AgeIdentity } from "../core/age-identity.ts";
import { equalBytes } from "../core/crypto/hash.ts";
import type { Clock } from "../core/clock.ts";
import { HostError, LatchkeyError } from "../core/errors.ts";
import { z } from "../core/schema.ts";
import type { LeasePurpose } from "../core/lease-purpose.ts";
import { Secret } from "../core/secret.ts";
import type { SecretNode } from "../pillar/secret-node.ts";
import type { SecretCache } from "./secret-cache.ts";
import { SecretDigests } from "./secret-digests.ts";
import { decodeRecord, putRecord } from "./store/record.ts";
import type { Change, Entry, Store } from "./store/store.ts";
import { rotationKey, rotationSchema } from "./volumes/rotation-record.ts";

/** Below it, everything about secrets: `secret/<minion id>/<pillar path>/<version>`. */
export const SECRETS_PREFIX = "secret/";

/** Bytes of a key that the master makes; these raw bytes, newlines and zeros among them, are the LUKS key. */
const GENERATED_BYTES = 32;
const VERSION_DIGITS = 6;
const PAGE = 500;
/** Versions kept decoded: about a kilobyte each, all of it ciphertext. */
const MAX_DECODED = 4096;

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

/** What the versions of secrets rest on. */
export interface VersionsOptions {
  readonly store: Store;
  readonly identity: AgeIdentity;
  /** `age1…` of the operator's offline identities, beside the master's own. */
  readonly recoveryRecipients: readonly string[];
  readonly cache: SecretCache;
  readonly clock: Clock;
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

/** The versioned store of secrets: append only, numbered from 1, encrypted, proven readable before it is relied on. */
export class SecretVersions {
  readonly #options: VersionsOptions;
  readonly #digests: SecretDigests;
  readonly #decoded = new Map<string, { readonly revision: number; readonly version: SecretVersion }>();

  constructor(options: VersionsOptions) {
    this.#options = options;
    this.#digests = new SecretDigests(options.identity);
  }

  /** To whom each new version is encrypted, the master first. */
  get recipients(): readonly string[] {
    return [this.#options.identity.recipient, ...this.#options.recoveryRecipients];
  }

  /** Every version of a secret, oldest first. */
  async list(minionId: string, path: string): Promise<readonly ListedVersion[]> {
    const { store } = this.#options;
    const entries = await store.list(prefixOf(minionId, path));
    const versions = entries.map((entry) => this.#decode(entry));
    // a first version is never one of a rotation
    if (versions.length < 2) return versions;
    // read after the versions: a new one is written together with what sets it aside
    const entry = await store.get(rotationKey(minionId, path));
    const aside = entry === undefined ? [] : decodeRecord(rotationSchema, entry).aside;
    return versions.map((version) => (aside.includes(version.version) ? { ...version, aside: true } : version));
  }

  /** Whether a lease has the master make a key: a first format does, and each other hands out one that exists. */
  async makesKey(
    { id, path, purpose }: { readonly id: string; readonly path: string; readonly purpose: LeasePurpose },
    { kind }: Pick<SecretNode, "kind">,
  ): Promise<boolean> {
    return purpose === "format" && kind === "generate" && currentOf(await this.list(id, path)) === undefined;
  }

  /** What an entry says; the same revision of it is taken apart once (a rekey makes a new one). */
  #decode(entry: Entry): SecretVersion {
    const known = this.#decoded.get(entry.key);
    if (known?.revision === entry.revision) return known.version;
    const version = decodeRecord(versionSchema, entry);
    if (this.#decoded.size >= MAX_DECODED) this.#decoded.clear();
    this.#decoded.set(entry.key, { revision: entry.revision, version });
    return version;
  }

  /** Every stored version, with minion id and path, page by page in the order of the store. */
  async *all(): AsyncGenerator<StoredVersion> {
    for (let after = SECRETS_PREFIX; ;) {
      const page = await this.#options.store.list(SECRETS_PREFIX, { after, limit: PAGE });
      for (const entry of page) {
        const [, id = "", path = ""] = entry.key.split("/");
        yield { entry, id, path: decodeURIComponent(path), version: decodeRecord(versionSchema, entry) };
      }
      const last = page.at(-1);
      if (!last || page.length < PAGE) return;
      after = last.key;
    }
  }

  /** A new key, made by the CSPRNG and durable; when two callers race, both get the one that won. */
  async generate(minionId: string, path: string): Promise<SecretVersion> {
    using fresh = Secret.take(randomBytes(GENERATED_BYTES));
    return await this.#append(minionId, path, "generated", fresh, currentOf);
  }

  /**
   * A further key, made by the CSPRNG. `also` is written together with it, so that there is no moment at which it is stored
   * and not set aside.
   */
  async mint(minionId: string, path: string, also: (version: number) => Change): Promise<SecretVersion> {
    using fresh = Secret.take(randomBytes(GENERATED_BYTES));
    return await this.#append(minionId, path, "generated", fresh, () => undefined, also);
  }

  /** Makes this very value the one that a `!generate` stands for, and proves that it opens. */
  async import(minionId: string, path: string, secret: Secret): Promise<SecretVersion> {
    const digests = this.#digests.everyOf(minionId, path, secret);
    const stored = await this.#append(minionId, path, "imported", secret, (versions) => {
      const current = currentOf(versions);
      return current && digests.includes(current.digest) ? current : undefined;
    });
    this.assertOpens(stored, secret);
    return stored;
  }

  /** Keeps ciphertext that leaves the pillar, without opening it. */
  async keepSealed(minionId: string, path: string, armored: string): Promise<SecretVersion> {
    for (;;) {
      const versions = await this.list(minionId, path);
      const known = versions.find((version) => version.armored === armored);
      if (known) return known;
      const version: SecretVersion = {
        version: nextNumber(versions),
        origin: "sealed",
        createdAt: this.#options.clock.now(),
        digest: "",
        armored,
        recipients: "",
      };
      const key = keyOf(minionId, path, version.version);
      const { kind } = await this.#options.store.write([putRecord(key, version, { ifRevision: 0 })]);
      if (kind === "conflict") continue;
      const entry = await this.#options.store.get(key);
      if (entry && decodeRecord(versionSchema, entry).armored === armored) return version;
      throw notDurable(key);
    }
  }

  /** Marks every version that there is now as forgotten; nothing is destroyed, and a later one is not touched. */
  async forget(minionId: string, path: string): Promise<void> {
    const { store } = this.#options;
    for (;;) {
      const entries = await store.list(prefixOf(minionId, path));
      const changes = entries.flatMap((entry) => {
        const version = this.#decode(entry);
        if (version.forgotten === true) return [];
        return [putRecord(entry.key, { ...version, forgotten: true }, { ifRevision: entry.revision })];
      });
      // a conflict means that somebody else changed one (a rekey): what is there now is marked then
      if (changes.length === 0 || (await store.write(changes)).kind === "committed") return;
    }
  }

  /** The version that holds this very value, added when there is none. */
  async escrow(minionId: string, path: string, secret: Secret): Promise<SecretVersion> {
    const digests = this.#digests.everyOf(minionId, path, secret);
    const equal = (versions: readonly SecretVersion[]) => versions.findLast(({ digest }) => digests.includes(digest));
    return this.#append(minionId, path, "escrow", secret, equal);
  }

  /** The version that `fit` finds, else a new one with this value, written and read back (I1). */
  async #append(
    minionId: string,
    path: string,
    origin: SecretVersion["origin"],
    secret: Secret,
    fit: (versions: readonly ListedVersion[]) => SecretVersion | undefined,
    also?: (version: number) => Change,
  ): Promise<SecretVersion> {
    // of one moment: the master's identity may be replaced while the library encrypts
    const { recipients } = this;
    let armored: string | undefined;
    for (;;) {
      const versions = await this.list(minionId, path);
      const known = fit(versions);
      if (known) return known;
      armored ??= await encryptAge(secret, recipients);
      const version: SecretVersion = {
        version: nextNumber(versions),
        origin,
        createdAt: this.#options.clock.now(),
        digest: this.digest(minionId, path, secret),
        armored,
        recipients: recipientSetId(recipients),
      };
      const key = keyOf(minionId, path, version.version);
      const further = also === undefined ? [] : [also(version.version)];
      const result = await this.#options.store.write([putRecord(key, version, { ifRevision: 0 }), ...further]);
      // somebody else took the number: each turn of the loop means that a version was added, so it ends
      if (result.kind === "committed") return this.#readBack(key, secret);
    }
  }

  /**
   * Destroys every version of a secret, readable or not, what is known of its rotations, and what `also` says, in one write:
   * only for a volume that is erased for good (I3 ends with it). Numbers begin anew then, so nothing may be left that names one.
   */
  async destroy(minionId: string, path: string, also: readonly Change[] = []): Promise<void> {
    const entries = await this.#options.store.list(prefixOf(minionId, path));
    for (const entry of entries) {
      try {
        this.#options.cache.forget(this.#decode(entry).armored);
      } catch (error) {
        // a damaged one was never opened
        if (!(error instanceof LatchkeyError)) throw error;
      }
      this.#decoded.delete(entry.key);
    }
    const keys = [...entries.map(({ key }) => key), rotationKey(minionId, path)];
    await this.#options.store.write([...keys.map((key) => ({ op: "delete", key }) as const), ...also]);
  }

  /** What armored text holds, for the master itself; the caller wipes it. Throws ProtocolError. */
  open(armored: string): Secret {
    return this.#options.cache.open(armored);
  }

  /** Proves that a stored version opens to this very value. Throws HostError `secret-not-durable`, ProtocolError. */
  assertOpens(stored: SecretVersion, secret: Secret): void {
    using opened = this.#options.cache.open(stored.armored);
    if (equalBytes(opened.expose(), secret.expose())) return;
    throw notDurable(`version ${stored.version}`);
  }

  async #readBack(key: string, secret: Secret): Promise<SecretVersion> {
    const entry = await this.#options.store.get(key);
    if (!entry) throw notDurable(key);
    const stored = decodeRecord(versionSchema, entry);
    this.assertOpens(stored, secret);
    return stored;
  }

  /** The keyed digest of a value at its place, hex. */
  digest(minionId: string, path: string, secret: Secret): string {
    return this.#digests.of(minionId, path, secret);
  }
}

const nextNumber = (versions: readonly SecretVersion[]) => (versions.at(-1)?.version ?? 0) + 1;

function keyOf(minionId: string, path: string, version: number): string {
  return `${prefixOf(minionId, path)}${String(version).padStart(VERSION_DIGITS, "0")}`;
}

function notDurable(what: string): HostError {
  return new HostError(
    "secret-not-durable",
    `cannot rely on the store: "${what}" does not read back as it was written`,
    {
      hint: "nothing was released; look at the disk that holds the master's state_dir",
    },
  );
}

function prefixOf(minionId: string, path: string): string {
  return `${SECRETS_PREFIX}${minionId}/${encodeURIComponent(path)}/`;
}
