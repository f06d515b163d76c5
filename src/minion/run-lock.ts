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

/** `state.apply (job 2026…) as PID 123 since 12:00:01`. */
export function describeHolder(holder: RunHolder): string {
  return `${holder.fun} (job ${holder.jid}) as PID ${holder.pid} since ${new Date(holder.since).toISOString()}`;
}

/**
 * One state run at a time on a machine, across processes. The lock is the kernel's own on a file (through SQLite, since
 * Node has no flock): it ends with the process that holds it, however that ends, so it is never stale.
 */
export class RunLock {
  readonly #directory: string;
  readonly #clock: Clock;

  constructor(directory: string, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  /**
   * Waits until nobody else runs states, then holds the lock until the returned function is called. `onWait` hears once
   * who is waited for. Rejects when the signal aborts.
   */
  async acquire(holder: RunHolder, onWait: (other: RunHolder | undefined) => void, signal: AbortSignal) {
    await mkdir(this.#directory, { recursive: true, mode: 0o755 });
    const { DatabaseSync } = await import("node:sqlite");
    const database = new DatabaseSync(join(this.#directory, "state-run.lock"));
    try {
      let told = false;
      while (!tryLock(database)) {
        signal.throwIfAborted();
        if (!told) onWait(await this.holder());
        told = true;
        await this.#clock.sleep(POLL_MS, signal);
      }
      await this.#publish(holder);
    } catch (thrown) {
      database.close();
      throw thrown;
    }
    return async (): Promise<void> => {
      await rm(this.#infoPath, { force: true });
      database.close();
    };
  }

  /** Who holds the lock, as far as it has said so; undefined when nobody does. */
  async holder(): Promise<RunHolder | undefined> {
    const text = await readFile(this.#infoPath, "utf8").catch(() => "");
    return text === "" ? undefined : (JSON.parse(text) as RunHolder);
  }

  get #infoPath(): string {
    return join(this.#directory, "state-run.json");
  }

  async #publish(holder: RunHolder): Promise<void> {
    const temporary = `${this.#infoPath}.${randomBytes(6).toString("hex")}`;
    await writeFile(temporary, JSON.stringify(holder), { mode: 0o600, flag: "wx" });
    await rename(temporary, this.#infoPath);
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
