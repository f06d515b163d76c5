import { decodeRecord } from "./store/record.ts";
import type { Entry, Store } from "./store/store.ts";
import { type SecretVersion, versionKey, versionSchema, versionsPrefix } from "./secret-version.ts";

/** Versions kept decoded: about a kilobyte each, all of it ciphertext. */
const MAX_DECODED = 4096;
/** Secrets whose newest number is kept in memory. */
const MAX_NUMBERS = 20_000;

/**
 * The versions of secrets where they are stored, one by one: numbered from 1 without a gap, so that none but the wanted one
 * is read, however many there are.
 */
export class VersionShelf {
  readonly #store: Pick<Store, "get" | "list">;
  readonly #decoded = new Map<string, { readonly revision: number; readonly version: SecretVersion }>();
  /** Newest number of a secret when it was last asked for; looked at again each time. */
  readonly #newest = new Map<string, number>();

  constructor(store: Pick<Store, "get" | "list">) {
    this.#store = store;
  }

  /** What an entry says; the same revision of it is taken apart once (a rekey makes a new one). */
  decode(entry: Entry): SecretVersion {
    const known = this.#decoded.get(entry.key);
    if (known?.revision === entry.revision) return known.version;
    const version = decodeRecord(versionSchema, entry);
    if (this.#decoded.size >= MAX_DECODED) this.#decoded.clear();
    this.#decoded.set(entry.key, { revision: entry.revision, version });
    return version;
  }

  /** One version, undefined when there is none of that number. */
  async get(minionId: string, path: string, version: number): Promise<SecretVersion | undefined> {
    const entry = await this.#store.get(versionKey(minionId, path, version));
    return entry && this.decode(entry);
  }

  /** The newest number, 0 for a secret without versions. */
  async newest(minionId: string, path: string): Promise<number> {
    const prefix = versionsPrefix(minionId, path);
    let number = this.#newest.get(prefix) ?? 0;
    // most often it is the same as before: two looks, and no plan of a list
    const isSame =
      number > 0 &&
      (await this.#store.get(versionKey(minionId, path, number + 1))) === undefined &&
      (await this.#store.get(versionKey(minionId, path, number))) !== undefined;
    if (!isSame) number = await this.#lastListed(prefix);
    if (this.#newest.size >= MAX_NUMBERS) this.#newest.clear();
    this.#newest.set(prefix, number);
    return number;
  }

  /** The highest number that is forgotten, 0 for none. What is older than a forgotten version is forgotten as well. */
  async forgottenThrough(minionId: string, path: string): Promise<number> {
    let low = 0;
    let high = await this.newest(minionId, path);
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const version = await this.get(minionId, path, middle);
      if (version?.forgotten === true) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Drops what is known of an entry that is destroyed. */
  drop(key: string): void {
    this.#decoded.delete(key);
  }

  async #lastListed(prefix: string): Promise<number> {
    const [last] = await this.#store.list(prefix, { reverse: true, limit: 1 });
    return last === undefined ? 0 : this.decode(last).version;
  }
}
