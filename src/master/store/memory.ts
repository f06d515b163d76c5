import { type Clock, systemClock } from "../../core/clock.ts";
import { HostError } from "../../core/errors.ts";
import { assertChanges, assertKey } from "./keys.ts";
import type { Change, Entry, ListOptions, Size, Store, StoreEvent, WriteResult } from "./store.ts";
import { Watchers } from "./watchers.ts";

interface Held extends Entry {
  readonly expiresAt: number;
}

/** A store that forgets everything with the process: for tests. `fail` makes every write fail until it is cleared. */
export class MemoryStore implements Store {
  readonly #entries = new Map<string, Held>();
  readonly #watchers = new Watchers();
  readonly #clock: Clock;
  #revision = 0;
  #closed = false;
  fail: string | undefined;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#sweep();
    return copy(this.#entries.get(assertKey(key)));
  }

  async list(prefix: string, options: ListOptions = {}): Promise<readonly Entry[]> {
    const { after, limit = Number.POSITIVE_INFINITY, reverse = false } = options;
    this.#sweep();
    const isAfter = (key: string) => after === undefined || (reverse ? key < after : key > after);
    return [...this.#entries.values()]
      .filter(({ key }) => key.startsWith(prefix) && isAfter(key))
      .sort((a, b) => (a.key < b.key !== reverse ? -1 : 1))
      .slice(0, limit)
      .map((entry) => ({ key: entry.key, value: entry.value.slice(), revision: entry.revision }));
  }

  async sizes(prefix: string): Promise<readonly Size[]> {
    this.#sweep();
    return [...this.#entries.values()]
      .filter(({ key }) => key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map(({ key, value }) => ({ key, bytes: value.length }));
  }

  async write(changes: readonly Change[]): Promise<WriteResult> {
    assertChanges(changes);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#closed) throw new HostError("store-failed", "cannot write the store: it is closed");
    if (this.fail !== undefined) throw new HostError("store-failed", `cannot write the store: ${this.fail}`);
    this.#sweep();
    for (const { key, ifRevision } of changes) {
      if (ifRevision !== undefined && (this.#entries.get(key)?.revision ?? 0) !== ifRevision) {
        return { kind: "conflict", key };
      }
    }
    this.#revision += 1;
    const revision = this.#revision;
    const events = changes.flatMap((change): StoreEvent[] => {
      if (change.op === "delete") {
        return this.#entries.delete(change.key) ? [{ key: change.key, value: undefined, revision }] : [];
      }
      const value = change.value.slice();
      const expiresAt = change.ttlMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + change.ttlMs;
      this.#entries.set(change.key, { key: change.key, value, revision, expiresAt });
      return [{ key: change.key, value: change.value, revision }];
    });
    this.#watchers.tell(events);
    return { kind: "committed", revision };
  }

  watch(prefix: string, listener: (event: StoreEvent) => void): () => void {
    return this.#watchers.add(prefix, listener);
  }

  async scrub(): Promise<void> {}

  async copyTo(_file: string): Promise<void> {
    throw new HostError("backup-failed", "cannot copy the store: it is in memory alone");
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #sweep(): void {
    const now = this.#clock.now();
    const gone = [...this.#entries.values()].filter(({ expiresAt }) => expiresAt <= now);
    for (const { key } of gone) this.#entries.delete(key);
    this.#watchers.tell(gone.map(({ key, revision }) => ({ key, value: undefined, revision })));
  }
}

function copy(entry: Held | undefined): Entry | undefined {
  return entry && { key: entry.key, value: entry.value.slice(), revision: entry.revision };
}
