import type { Entry } from "./store.ts";

/** Lists remembered, and how long one may be: short ones, such as the versions of a secret, are what is read all the time. */
const MAX_LISTS = 4096;
const MAX_ENTRIES = 8;
const MAX_BYTES = 16 * 1024;

/**
 * Short lists as they were last read, for an engine through which every change passes. Only whole folders (a prefix that
 * ends in a slash), and only entries that do not expire by themselves.
 */
export class ListMemory {
  readonly #lists = new Map<string, readonly Entry[]>();

  get(prefix: string): readonly Entry[] | undefined {
    return this.#lists.get(prefix);
  }

  /** Remembers a list, if it is of the kind that is remembered. */
  keep(prefix: string, entries: readonly Entry[]): void {
    if (!prefix.endsWith("/") || entries.length > MAX_ENTRIES) return;
    const bytes = entries.reduce((sum, { value }) => sum + value.length, 0);
    if (bytes > MAX_BYTES) return;
    if (this.#lists.size >= MAX_LISTS) this.#lists.clear();
    this.#lists.set(prefix, entries);
  }

  /** Forgets every list that the key belongs into. To be called for each change, before anybody can list again. */
  changed(key: string): void {
    if (this.#lists.size === 0) return;
    for (let slash = key.indexOf("/"); slash !== -1; slash = key.indexOf("/", slash + 1)) {
      this.#lists.delete(key.slice(0, slash + 1));
    }
  }
}
