import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import { errorMessage, HostError } from "../core/errors.ts";

/** Who runs states: shown to those who wait. */
export interface RunHolder {
  readonly pid: number;
  readonly jid: string;
  readonly fun: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

const BUSY = 5;
const POLL_MS = 100;
/** Runs of one process that wait behind the one that has its turn. */
const MAX_QUEUED = 100;

/** `state.apply (job 2026…) as PID 123 since 12:00:01`. */
export function describeHolder(holder: RunHolder): string {
  return `${holder.fun} (job ${holder.jid}) as PID ${holder.pid} since ${new Date(holder.since).toISOString()}`;
}

/** A run of this process that waits for its turn. */
interface Waiter {
  readonly holder: RunHolder;
  readonly begin: () => void;
}

/**
 * One state run at a time on a machine, across processes; those of one process in the order in which they came. The lock is
 * the kernel's own on a file (through SQLite, since Node has no flock): it ends with the process that holds it, however that
 * ends, so it is never stale.
 */
export class RunLock {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #queue: Waiter[] = [];
  /** Whose turn it is in this process; it may wait for another process still. */
  #current: RunHolder | undefined;
  #isHeld = false;

  constructor(directory: string, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  /**
   * Waits until nobody else runs states, then holds the lock until the returned function is called. `onWait` hears who is
   * waited for: a run of this process, then perhaps one of another. Throws HostError `queue-full` when too many wait already;
   * rejects when the signal aborts.
   */
  async acquire(
    holder: RunHolder,
    onWait: (other: RunHolder | undefined) => void,
    signal: AbortSignal,
  ): Promise<() => Promise<void>> {
    // nothing is awaited before a place in the queue is taken: jobs keep their order (I7)
    if (this.#current === undefined) this.#current = holder;
    else await this.#waitForTurn(this.#current, holder, onWait, signal);
    try {
      const database = await this.#lockFile(onWait, signal);
      // for those who wait to see: where that cannot be written, runs go on all the same
      await this.#publish(holder).catch(() => undefined);
      this.#isHeld = true;
      return async (): Promise<void> => {
        this.#isHeld = false;
        try {
          await rm(this.#infoPath, { force: true, recursive: true });
        } finally {
          database.close();
          this.#next();
        }
      };
    } catch (thrown) {
      this.#next();
      throw thrown;
    }
  }

  /** Who holds the lock, as far as it has said so; undefined when nobody does. */
  async holder(): Promise<RunHolder | undefined> {
    if (this.#isHeld) return this.#current;
    const said = await this.#readInfo();
    // a process that was killed leaves its name behind, and no lock
    return said !== undefined && (await this.#isLocked()) ? said : undefined;
  }

  async #waitForTurn(
    current: RunHolder,
    holder: RunHolder,
    onWait: (other: RunHolder | undefined) => void,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    if (this.#queue.length >= MAX_QUEUED) throw this.#full(current, holder);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { holder, begin: resolve };
    const leave = () => {
      const at = this.#queue.indexOf(waiter);
      // else its turn has come: the wait for other processes ends by the same signal
      if (at >= 0) this.#queue.splice(at, 1);
      if (at >= 0) reject(signal.reason as Error);
    };
    this.#queue.push(waiter);
    signal.addEventListener("abort", leave, { once: true });
    try {
      onWait(current);
      await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  #full(current: RunHolder, { fun }: RunHolder): HostError {
    const counts = new Map<string, number>();
    for (const { holder } of this.#queue) counts.set(holder.fun, (counts.get(holder.fun) ?? 0) + 1);
    const waiting = [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
    const message = `cannot queue ${fun}: ${describeHolder(current)} is running, and as many wait as may: ${waiting}`;
    return new HostError("queue-full", message, { hint: "wait for them, or see what the one that runs waits for" });
  }

  /** The turn of the one that has waited longest. */
  #next(): void {
    const next = this.#queue.shift();
    this.#current = next?.holder;
    next?.begin();
  }

  async #lockFile(onWait: (other: RunHolder | undefined) => void, signal: AbortSignal): Promise<DatabaseSync> {
    await mkdir(this.#directory, { recursive: true, mode: 0o755 });
    const database = await this.#open();
    try {
      let told = false;
      while (!tryLock(database)) {
        signal.throwIfAborted();
        if (!told) onWait(await this.#readInfo());
        told = true;
        await this.#clock.sleep(POLL_MS, signal);
      }
      signal.throwIfAborted();
      return database;
    } catch (thrown) {
      database.close();
      throw thrown;
    }
  }

  async #open(): Promise<DatabaseSync> {
    const { DatabaseSync: Database } = await import("node:sqlite");
    return new Database(join(this.#directory, "state-run.lock"));
  }

  async #isLocked(): Promise<boolean> {
    const database = await this.#open();
    try {
      return !tryLock(database);
    } finally {
      database.close();
    }
  }

  async #readInfo(): Promise<RunHolder | undefined> {
    const text = await readFile(this.#infoPath, "utf8").catch(() => "");
    return text === "" ? undefined : (JSON.parse(text) as RunHolder);
  }

  get #infoPath(): string {
    return join(this.#directory, "state-run.json");
  }

  async #publish(holder: RunHolder): Promise<void> {
    const temporary = `${this.#infoPath}.${randomBytes(6).toString("hex")}`;
    try {
      await writeFile(temporary, JSON.stringify(holder), { mode: 0o600, flag: "wx" });
      await rename(temporary, this.#infoPath);
    } finally {
      await rm(temporary, { force: true });
    }
  }
}

function tryLock(database: DatabaseSync): boolean {
  try {
    database.exec("PRAGMA busy_timeout=0; BEGIN EXCLUSIVE");
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && "errcode" in thrown && thrown.errcode === BUSY) return false;
    throw new HostError("lock-failed", `cannot lock state runs: ${errorMessage(thrown)}`, { cause: thrown });
  }
}
