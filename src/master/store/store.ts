/** One key as it is stored. */
export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Number of the write that put it here; grows over the whole store and over restarts. */
  readonly revision: number;
}

/**
 * One change of an atomic write. `ifRevision` makes the whole write depend on the key's revision as the caller saw it; 0
 * means that the key must not exist.
 */
export type Change = PutChange | { readonly op: "delete"; readonly key: string; readonly ifRevision?: number };

/** A change that puts a value. */
export interface PutChange {
  readonly op: "put";
  readonly key: string;
  readonly value: Uint8Array;
  readonly ifRevision?: number;
  /** The entry is gone this many milliseconds after the write; the default is never. */
  readonly ttlMs?: number;
}

/** What became of a write: all of it is durable, or nothing happened because `key` had another revision. */
export type WriteResult =
  | { readonly kind: "committed"; readonly revision: number }
  | { readonly kind: "conflict"; readonly key: string };

/** Which part of a prefix to list. */
export interface ListOptions {
  /** Only keys after this one. */
  readonly after?: string;
  /** At most this many; the default is all. */
  readonly limit?: number;
  /** Last key first; `after` then means before. */
  readonly reverse?: boolean;
}

/** How long the value of one key is. */
export interface Size {
  readonly key: string;
  readonly bytes: number;
}

/** A change that became durable; `value` is undefined for a key that is gone (deleted or expired). */
export interface StoreEvent {
  readonly key: string;
  readonly value: Uint8Array | undefined;
  readonly revision: number;
}

/**
 * Where the master keeps what must last. Keys are printable ASCII in byte order, up to 500 characters; values up to 16
 * MiB. Neither depends on the engine: SQLite in the master, etcd where one master is not enough. Every method throws
 * HostError `store-failed` when the engine fails; after a failed write nothing of it is visible.
 */
export interface Store {
  get(key: string): Promise<Entry | undefined>;
  /** Entries whose key starts with `prefix`, in key order. */
  list(prefix: string, options?: ListOptions): Promise<readonly Entry[]>;
  /** Keys that start with `prefix`, in key order, with the size of their values, which are not read. */
  sizes(prefix: string): Promise<readonly Size[]>;
  /** All changes or none. Resolves when they are durable: synced to the disk, not only handed to the system. */
  write(changes: readonly Change[]): Promise<WriteResult>;
  /**
   * Calls `listener` after each durable change below `prefix`, in order of revisions; expiry is seen within a second or
   * so. Returns what ends the watch.
   */
  watch(prefix: string, listener: (event: StoreEvent) => void): () => void;
  /** Overwrites what deleted and replaced entries have left in the store's files. */
  scrub(): Promise<void>;
  /**
   * Writes all that is there, as of one moment, to an empty file that a store can be opened from, and proves the file whole;
   * other work goes on. Throws HostError `backup-failed`.
   */
  copyTo(file: string): Promise<void>;
  close(): Promise<void>;
}
