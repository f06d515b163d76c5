import { randomBytes } from "node:crypto";
import { encryptAge } from "../core/age.ts";
import { isAgeText, recipientSetId } from "../core/age-recipients.ts";
import type { AgeIdentity } from "../core/age-identity.ts";
import { equalBytes } from "../core/crypto/hash.ts";
import type { Clock } from "../core/clock.ts";
import { setImmediate as nextTurn } from "node:timers/promises";
import { AuthError, ConfigError, HostError, LatchkeyError } from "../core/errors.ts";
import type { LeasePurpose } from "../core/lease-purpose.ts";
import { Secret } from "../core/secret.ts";
import type { SecretNode } from "../pillar/secret-node.ts";
import type { SecretCache } from "./secret-cache.ts";
import { SecretDigests } from "./secret-digests.ts";
import {
  isOfStore,
  type ListedVersion,
  SECRETS_PREFIX,
  type SecretVersion,
  type StoredVersion,
  versionKey,
  versionSchema,
  versionsPrefix,
} from "./secret-version.ts";
import { decodeRecord, putRecord } from "./store/record.ts";
import type { Change, Entry, Store } from "./store/store.ts";
import { VersionShelf } from "./version-shelf.ts";
import { rotationKey, rotationSchema } from "./volumes/rotation-record.ts";

/** Bytes of a key that the master makes; these raw bytes, newlines and zeros among them, are the LUKS key. */
const GENERATED_BYTES = 32;
const PAGE = 500;
/**
 * Keys that the master makes of one secret at a host's word: so many at once, then one an hour. None is ever dropped (I3), so
 * what is bounded is how many come about; a host that begins and takes back rotations, or removes and formats its volume,
 * would else have it keep more and more.
 */
const MADE_AT_ONCE = 64;
const MADE_EVERY_MS = 3_600_000;
/** More than these are made of no secret: `volume.rotation` names each, and an erase for good begins anew. */
export const MAX_VERSIONS = 10_000;

/** What the versions of secrets rest on. */
export interface VersionsOptions {
  readonly store: Store;
  readonly identity: AgeIdentity;
  /** `age1…` of the operator's offline identities, beside the master's own. */
  readonly recoveryRecipients: readonly string[];
  readonly cache: SecretCache;
  readonly clock: Clock;
}

/** The versioned store of secrets: append only, numbered from 1, encrypted, proven readable before it is relied on. */
export class SecretVersions {
  readonly #options: VersionsOptions;
  readonly #digests: SecretDigests;
  readonly #shelf: VersionShelf;

  constructor(options: VersionsOptions) {
    this.#options = options;
    this.#shelf = new VersionShelf(options.store);
    this.#digests = new SecretDigests(options.identity);
  }

  /** To whom each new version is encrypted, the master first. */
  get recipients(): readonly string[] {
    return [this.#options.identity.recipient, ...this.#options.recoveryRecipients];
  }

  /** Every version of a secret, oldest first: for operators, since all of them are read. */
  async list(minionId: string, path: string): Promise<readonly ListedVersion[]> {
    const versions: SecretVersion[] = [];
    for await (const page of this.#pages(versionsPrefix(minionId, path))) {
      versions.push(...page.map((entry) => this.#shelf.decode(entry)));
    }
    const aside = await this.#aside(minionId, path, versions.length);
    return versions.map((version) => (aside.has(version.version) ? { ...version, aside: true } : version));
  }

  /** As `currentOf` of all of them, without reading more than it takes. */
  async current(minionId: string, path: string): Promise<SecretVersion | undefined> {
    const newest = await this.#shelf.newest(minionId, path);
    const aside = await this.#aside(minionId, path, newest);
    for (let number = newest; number > 0; number -= 1) {
      if (aside.has(number)) continue;
      const version = await this.#shelf.get(minionId, path, number);
      if (version?.forgotten === true) return undefined;
      if (version !== undefined && isOfStore(version)) return version;
    }
    return undefined;
  }

  /** One version; undefined when there is none of that number. */
  async get(minionId: string, path: string, version: number): Promise<SecretVersion | undefined> {
    return this.#shelf.get(minionId, path, version);
  }

  /** The number of the newest version, 0 for a secret that has none; those from 1 to it are all there. */
  async newest(minionId: string, path: string): Promise<number> {
    return this.#shelf.newest(minionId, path);
  }

  /** Versions up to this number are forgotten, and no other. */
  async forgottenThrough(minionId: string, path: string): Promise<number> {
    return this.#shelf.forgottenThrough(minionId, path);
  }

  /** Whether one more key may be made of this secret now; see `MADE_AT_ONCE`. */
  async mayMake(minionId: string, path: string): Promise<boolean> {
    return this.#hasRoom(minionId, path, await this.#shelf.newest(minionId, path));
  }

  /** Whether a lease has the master make a key: a first format does, and each other hands out one that exists. */
  async makesKey(
    { id, path, purpose }: { readonly id: string; readonly path: string; readonly purpose: LeasePurpose },
    { kind }: Pick<SecretNode, "kind">,
  ): Promise<boolean> {
    return purpose === "format" && kind === "generate" && (await this.current(id, path)) === undefined;
  }

  /** Every stored version, with minion id and path, page by page in the order of the store. */
  async *all(): AsyncGenerator<StoredVersion> {
    for await (const page of this.#pages(SECRETS_PREFIX)) {
      for (const entry of page) {
        const [, id = "", path = ""] = entry.key.split("/");
        yield { entry, id, path: decodeURIComponent(path), version: decodeRecord(versionSchema, entry) };
      }
    }
  }

  /** A new key, made by the CSPRNG and durable; when two callers race, both get the one that won. */
  async generate(minionId: string, path: string): Promise<SecretVersion> {
    using fresh = Secret.take(randomBytes(GENERATED_BYTES));
    return await this.#append(minionId, path, "generated", fresh, () => this.current(minionId, path));
  }

  /**
   * A further key, made by the CSPRNG. `also` is written together with it, so that there is no moment at which it is stored
   * and not set aside.
   */
  async mint(minionId: string, path: string, also: (version: number) => Change): Promise<SecretVersion> {
    using fresh = Secret.take(randomBytes(GENERATED_BYTES));
    return await this.#append(minionId, path, "generated", fresh, async () => undefined, also);
  }

  /** Makes this very value the one that a `!generate` stands for, and proves that it opens. */
  async import(minionId: string, path: string, secret: Secret): Promise<SecretVersion> {
    const digests = this.#digests.everyOf(minionId, path, secret);
    const stored = await this.#append(minionId, path, "imported", secret, async () => {
      const current = await this.current(minionId, path);
      return current && digests.includes(current.digest) ? current : undefined;
    });
    this.assertOpens(stored, secret);
    return stored;
  }

  /** Keeps ciphertext that leaves the pillar, without opening it. Throws ConfigError `not-encrypted` for anything else. */
  async keepSealed(minionId: string, path: string, armored: string): Promise<SecretVersion> {
    if (!isAgeText(armored)) {
      throw new ConfigError("not-encrypted", `cannot keep the old value of "${path}": it is no age ciphertext`);
    }
    for (;;) {
      const versions = await this.list(minionId, path);
      const known = versions.find((version) => version.armored === armored);
      if (known) return known;
      const version: SecretVersion = {
        version: (versions.at(-1)?.version ?? 0) + 1,
        origin: "sealed",
        createdAt: this.#options.clock.now(),
        digest: "",
        armored,
        recipients: "",
      };
      const key = versionKey(minionId, path, version.version);
      const { kind } = await this.#options.store.write([putRecord(key, version, { ifRevision: 0 })]);
      if (kind === "conflict") continue;
      const entry = await this.#options.store.get(key);
      if (entry && decodeRecord(versionSchema, entry).armored === armored) return version;
      throw notDurable(key);
    }
  }

  /**
   * Marks every version that there is now as forgotten; nothing is destroyed, and a later one is not touched. Oldest first: cut
   * short, what is older than a forgotten one is forgotten too.
   */
  async forget(minionId: string, path: string): Promise<void> {
    const { store } = this.#options;
    const last = await this.#shelf.newest(minionId, path);
    for (;;) {
      const first = (await this.#shelf.forgottenThrough(minionId, path)) + 1;
      if (first > last) return;
      const numbers = Array.from({ length: Math.min(PAGE, last - first + 1) }, (_, index) => first + index);
      const entries = await Promise.all(numbers.map(async (number) => store.get(versionKey(minionId, path, number))));
      const changes = entries.flatMap((entry) =>
        entry === undefined
          ? []
          : [putRecord(entry.key, { ...this.#shelf.decode(entry), forgotten: true }, { ifRevision: entry.revision })],
      );
      // destroyed meanwhile
      if (changes.length === 0) return;
      // a conflict means that somebody else changed one (a rekey): what is there now is marked then
      await store.write(changes);
    }
  }

  /** The version that holds this very value, added when there is none. */
  async escrow(minionId: string, path: string, secret: Secret): Promise<SecretVersion> {
    const digests = this.#digests.everyOf(minionId, path, secret);
    return this.#append(minionId, path, "escrow", secret, async () => {
      for (let number = await this.#shelf.newest(minionId, path); number > 0; number -= 1) {
        const version = await this.#shelf.get(minionId, path, number);
        if (version !== undefined && digests.includes(version.digest)) return version;
      }
      return undefined;
    });
  }

  /** The version that `fit` finds, else a new one with this value, written and read back (I1). */
  async #append(
    minionId: string,
    path: string,
    origin: SecretVersion["origin"],
    secret: Secret,
    fit: () => Promise<SecretVersion | undefined>,
    also?: (version: number) => Change,
  ): Promise<SecretVersion> {
    // of one moment: the master's identity may be replaced while the library encrypts
    const { recipients } = this;
    let armored: string | undefined;
    for (;;) {
      // before `fit`: what is added from here on takes the next number, and the write conflicts
      const newest = await this.#shelf.newest(minionId, path);
      const known = await fit();
      if (known) return known;
      if (origin === "generated" && !(await this.#hasRoom(minionId, path, newest))) throw tooManyVersions(path);
      armored ??= await encryptAge(secret, recipients);
      const version: SecretVersion = {
        version: newest + 1,
        origin,
        createdAt: this.#options.clock.now(),
        digest: this.digest(minionId, path, secret),
        armored,
        recipients: recipientSetId(recipients),
      };
      const key = versionKey(minionId, path, version.version);
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
    const entries = await this.#options.store.list(versionsPrefix(minionId, path));
    for (const entry of entries) {
      try {
        this.#options.cache.forget(this.#shelf.decode(entry).armored);
      } catch (error) {
        // a damaged one was never opened
        if (!(error instanceof LatchkeyError)) throw error;
      }
      this.#shelf.drop(entry.key);
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

  /** Versions of a secret that no `!generate` stands for, of so many that there are. */
  async #aside(minionId: string, path: string, count: number): Promise<ReadonlySet<number>> {
    // a first version is never one of a rotation
    if (count < 2) return NONE;
    // read after the versions: a new one is written together with what sets it aside
    const entry = await this.#options.store.get(rotationKey(minionId, path));
    return entry === undefined ? NONE : new Set(decodeRecord(rotationSchema, entry).aside);
  }

  async #hasRoom(minionId: string, path: string, newest: number): Promise<boolean> {
    if (newest >= MAX_VERSIONS) return false;
    if (newest < MADE_AT_ONCE) return true;
    const before = await this.#shelf.get(minionId, path, newest - MADE_AT_ONCE + 1);
    return before === undefined || before.createdAt <= this.#options.clock.now() - MADE_AT_ONCE * MADE_EVERY_MS;
  }

  /** Entries below a prefix, a page a turn: nobody else has to wait for all of them. */
  async *#pages(prefix: string): AsyncGenerator<readonly Entry[]> {
    for (let after = prefix; ;) {
      const page = await this.#options.store.list(prefix, { after, limit: PAGE });
      yield page;
      const last = page.at(-1);
      if (!last || page.length < PAGE) return;
      after = last.key;
      await nextTurn();
    }
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

function notDurable(what: string): HostError {
  return new HostError(
    "secret-not-durable",
    `cannot rely on the store: "${what}" does not read back as it was written`,
    {
      hint: "nothing was released; look at the disk that holds the master's state_dir",
    },
  );
}

function tooManyVersions(path: string): AuthError {
  return new AuthError(
    "too-many-versions",
    `cannot make a further key for "${path}": ${MADE_AT_ONCE} were made at once, then one an hour is, and ${MAX_VERSIONS} in all`,
    {
      hint: "none of them is ever dropped; look at what its host does with the volume (`latchkey audit`), and erase it for good to begin anew",
    },
  );
}

const NONE: ReadonlySet<number> = new Set();
