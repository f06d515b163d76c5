import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { backup, DatabaseSync, type StatementSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { type Clock, systemClock } from "../../core/clock.ts";
import { errorMessage, HostError } from "../../core/errors.ts";
import { assertIntact } from "./intact.ts";
import { assertChanges, assertKey, prefixEnd } from "./keys.ts";
import { ListMemory } from "./list-memory.ts";
import type { Change, Entry, ListOptions, Size, Store, StoreEvent, WriteResult } from "./store.ts";
import { Watchers } from "./watchers.ts";

/** How to open the embedded store. */
export interface SqliteOptions {
  readonly clock?: Clock;
  /** Most bytes the database may take; a write beyond it fails like one on a full disk. */
  readonly maxBytes?: number;
  /** How often expired entries are removed; default 1,000. */
  readonly sweepMs?: number;
}

interface Waiting {
  readonly changes: readonly Change[];
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: unknown) => void;
}

const PAGE_BYTES = 4096;
const SWEEP_ROWS = 500;
/** Result code of success (https://www.sqlite.org/rescode.html). */
const SQLITE_OK = 0;
const COPY_ATTEMPTS = 100;
const LIST = "select key, value, revision from entries where key >= ?";
const LIST_ALL = "select key, value, revision, expires_at from entries where key >= ?";
// length() of a blob reads where its row begins, none of its pages
const SIZES = "select key, length(value) as bytes from entries where key >= ? and key < ?";
const SCHEMA = `
  create table if not exists entries (
    key text primary key, value blob not null, revision integer not null, expires_at integer
  ) without rowid;
  create index if not exists entries_expiry on entries (expires_at) where expires_at is not null;
  create table if not exists counter (name text primary key, value integer not null) without rowid;
  insert or ignore into counter values ('revision', 0);
`;

/**
 * The embedded store: one SQLite file in WAL mode with synchronous=FULL, locked by this process for as long as it is
 * open (the lock dies with the process). Group commit: what is written in one turn of the event loop is synced once.
 */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #statements: Readonly<
    Record<
      "get" | "listAll" | "list" | "listDown" | "sizes" | "revision" | "put" | "delete" | "count" | "expired",
      StatementSync
    >
  >;
  readonly #watchers = new Watchers();
  readonly #lists = new ListMemory();
  readonly #clock: Clock;
  readonly #sweeper: NodeJS.Timeout;
  #waiting: Waiting[] = [];
  #closed = false;

  /**
   * Opens the file, made with mode 0600 in a directory of mode 0700 when missing. Throws HostError `store-locked` when
   * another process has it open, `store-failed` when it cannot be read and written.
   */
  constructor(path: string, { clock = systemClock, maxBytes, sweepMs = 1000 }: SqliteOptions = {}) {
    this.#clock = clock;
    try {
      this.#db = openLocked(path, maxBytes);
      const prepare = (sql: string) => this.#db.prepare(sql);
      this.#statements = {
        get: prepare("select key, value, revision from entries where key = ? and ifnull(expires_at, 9e15) > ?"),
        // apart, because SQLite plans anew whenever a limit is bound, which takes longer than a short list itself
        listAll: prepare(`${LIST_ALL} and key < ? and ifnull(expires_at, 9e15) > ? order by key`),
        list: prepare(`${LIST} and key > ? and key < ? and ifnull(expires_at, 9e15) > ? order by key limit ?`),
        listDown: prepare(`${LIST} and key < ? and key < ? and ifnull(expires_at, 9e15) > ? order by key desc limit ?`),
        sizes: prepare(`${SIZES} and ifnull(expires_at, 9e15) > ? order by key`),
        revision: prepare("select revision from entries where key = ? and ifnull(expires_at, 9e15) > ?"),
        put: prepare("insert or replace into entries values (?, ?, ?, ?)"),
        delete: prepare("delete from entries where key = ?"),
        count: prepare("update counter set value = value + 1 where name = 'revision' returning value"),
        expired: prepare("select key, revision from entries where expires_at <= ? limit ?"),
      };
    } catch (error) {
      throw storeError(`cannot open the store "${path}"`, error);
    }
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    this.#sweeper.unref();
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#reading(() => toEntry(this.#statements.get.get(assertKey(key), this.#clock.now())));
  }

  async list(prefix: string, { after, limit = -1, reverse = false }: ListOptions = {}): Promise<readonly Entry[]> {
    if (limit < 0 && after === undefined && !reverse) return this.#reading(() => this.#listAll(prefix));
    const end = prefixEnd(prefix);
    const rows = () => {
      const now = this.#clock.now();
      return reverse
        ? this.#statements.listDown.all(prefix, after ?? end, end, now, limit)
        : this.#statements.list.all(prefix, after ?? "", end, now, limit);
    };
    return this.#reading(() => rows().flatMap((row) => toEntry(row) ?? []));
  }

  #listAll(prefix: string): readonly Entry[] {
    const known = this.#lists.get(prefix);
    if (known) return known;
    const rows = this.#statements.listAll.all(prefix, prefixEnd(prefix), this.#clock.now());
    const entries = rows.flatMap((row) => toEntry(row) ?? []);
    if (rows.every((row) => row["expires_at"] === null)) this.#lists.keep(prefix, entries);
    return entries;
  }

  async sizes(prefix: string): Promise<readonly Size[]> {
    return this.#reading(() =>
      this.#statements.sizes
        .all(prefix, prefixEnd(prefix), this.#clock.now())
        .map((row) => ({ key: String(row["key"]), bytes: Number(row["bytes"]) })),
    );
  }

  async write(changes: readonly Change[]): Promise<WriteResult> {
    assertChanges(changes);
    if (this.#closed) throw new HostError("store-failed", "cannot write the store: it is closed");
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#commit());
      this.#waiting.push({ changes, resolve, reject });
    });
  }

  watch(prefix: string, listener: (event: StoreEvent) => void): () => void {
    return this.#watchers.add(prefix, listener);
  }

  async scrub(): Promise<void> {
    if (this.#closed) throw new HostError("store-failed", "cannot scrub the store: it is closed");
    this.#commit();
    try {
      // every page written anew, and no frame of the log left (https://www.sqlite.org/lang_vacuum.html)
      this.#db.exec("pragma secure_delete = on; vacuum; pragma wal_checkpoint(truncate); pragma secure_delete = off");
    } catch (error) {
      throw storeError("cannot scrub the store", error);
    }
  }

  async copyTo(file: string): Promise<void> {
    if (this.#closed) throw new HostError("backup-failed", "cannot copy the store: it is closed");
    try {
      await this.#copyPages(file);
    } catch (error) {
      throw new HostError("backup-failed", `cannot copy the store: ${errorMessage(error)}`, { cause: error });
    }
    await assertIntact(file);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#sweeper);
    this.#commit();
    this.#closed = true;
    this.#db.close();
  }

  /**
   * On this connection: the lock lets no other in. Pages that are written meanwhile are copied anew
   * (https://www.sqlite.org/c3ref/backup_finish.html). A first step that meets a transaction copies nothing, and Node ends the
   * copy with the error code of success: again then.
   */
  async #copyPages(file: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await backup(this.#db, file);
        return;
      } catch (error) {
        const isBusy = error instanceof Error && "errcode" in error && error.errcode === SQLITE_OK;
        if (!isBusy || attempt >= COPY_ATTEMPTS || this.#closed) throw error;
        await delay(attempt);
      }
    }
  }

  /** Writes everything that waits in one transaction: one sync for all. */
  #commit(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    const events: StoreEvent[] = [];
    const results: WriteResult[] = [];
    try {
      this.#db.exec("begin immediate");
      for (const { changes } of batch) results.push(this.#apply(changes, events));
      this.#db.exec("commit");
    } catch (error) {
      this.#rollback();
      const failure = storeError("cannot write the store", error);
      for (const { reject } of batch) reject(failure);
      return;
    }
    for (const [index, { resolve }] of batch.entries()) resolve(results[index] ?? { kind: "conflict", key: "" });
    this.#watchers.tell(events);
  }

  #apply(changes: readonly Change[], events: StoreEvent[]): WriteResult {
    const now = this.#clock.now();
    for (const { key, ifRevision } of changes) {
      if (
        ifRevision !== undefined &&
        Number(this.#statements.revision.get(key, now)?.["revision"] ?? 0) !== ifRevision
      ) {
        return { kind: "conflict", key };
      }
    }
    const revision = Number(this.#statements.count.get()?.["value"]);
    for (const change of changes) {
      this.#lists.changed(change.key);
      if (change.op === "delete") {
        const { changes: deleted } = this.#statements.delete.run(change.key);
        if (deleted !== 0) events.push({ key: change.key, value: undefined, revision });
      } else {
        const expiresAt = change.ttlMs === undefined ? null : Math.ceil(now + change.ttlMs);
        this.#statements.put.run(change.key, change.value, revision, expiresAt);
        events.push({ key: change.key, value: change.value, revision });
      }
    }
    return { kind: "committed", revision };
  }

  #rollback(): void {
    // SQLite has often rolled back by itself (full disk): then there is no transaction left to end
    if (this.#db.isTransaction) this.#db.exec("rollback");
  }

  #sweep(): void {
    const rows = this.#statements.expired.all(this.#clock.now(), SWEEP_ROWS);
    if (rows.length === 0) return;
    const keys = rows.map((row) => String(row["key"]));
    try {
      this.#db.exec("begin immediate");
      for (const key of keys) this.#statements.delete.run(key);
      this.#db.exec("commit");
    } catch {
      // a full disk: what is expired stays invisible, and the next sweep tries again
      this.#rollback();
      return;
    }
    this.#watchers.tell(
      rows.map((row) => ({ key: String(row["key"]), value: undefined, revision: Number(row["revision"]) })),
    );
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw storeError("cannot read the store", error);
    }
  }
}

function openLocked(path: string, maxBytes: number | undefined): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // SQLite gives its -wal file the mode of the database: 0600 from the first byte
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600);
  const db = new DatabaseSync(path, { timeout: 200 });
  db.exec("pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = full");
  if (maxBytes !== undefined) db.exec(`pragma max_page_count = ${Math.ceil(maxBytes / PAGE_BYTES)}`);
  db.exec(SCHEMA);
  return db;
}

function toEntry(row: Readonly<Record<string, unknown>> | undefined): Entry | undefined {
  if (row === undefined) return undefined;
  const { key, value, revision } = row;
  if (typeof key !== "string" || !(value instanceof Uint8Array) || typeof revision !== "number") {
    throw new TypeError("unexpected row");
  }
  return { key, value, revision };
}

function storeError(what: string, error: unknown): HostError {
  const errcode = error instanceof Error && "errcode" in error ? Number(error.errcode) : 0;
  // SQLITE_BUSY, https://www.sqlite.org/rescode.html
  if ((errcode & 0xff) === 5) {
    return new HostError("store-locked", `${what}: another process has it open`, {
      cause: error,
      hint: "one master runs per state directory: stop the other one first",
    });
  }
  return new HostError("store-failed", `${what}: ${errorMessage(error)}`, { cause: error });
}
