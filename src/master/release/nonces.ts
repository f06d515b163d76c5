import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";

const PREFIX = "release/nonce/";
const nonceSchema = z.object({ until: z.number() });
/** How much longer than its statement holds it is known that it was used: the clock may be set forward and back. */
const REMEMBER_MS = 86_400_000;

/** Numbers of the operators' statements that were taken: each statement is good for one act. */
export class Nonces {
  readonly #now: () => number;
  readonly #used = new Map<string, number>();

  private constructor(now: () => number) {
    this.#now = now;
  }

  /** Reads what the store knows. */
  static async load(store: Store, now: () => number): Promise<Nonces> {
    const nonces = new Nonces(now);
    for (const entry of await store.list(PREFIX)) {
      nonces.#used.set(entry.key.slice(PREFIX.length), decodeRecord(nonceSchema, entry).until);
    }
    return nonces;
  }

  has(nonce: string): boolean {
    const now = this.#now();
    for (const [used, until] of this.#used) if (until <= now) this.#used.delete(used);
    return this.#used.has(nonce);
  }

  /** Uses one up, at once; what is returned makes that durable. */
  use(nonce: string, expires: number): Change {
    const until = expires + REMEMBER_MS;
    this.#used.set(nonce, until);
    return putRecord(PREFIX + nonce, { until }, { ttlMs: Math.max(1, until - this.#now()) });
  }
}
