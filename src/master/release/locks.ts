import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { pathName } from "./path-name.ts";

const lockSchema = z.object({
  id: z.string(),
  /** null: every secret of the host. */
  path: z.string().nullable(),
  /** The volume that was named; "" for all. */
  volume: z.string(),
  by: z.string(),
  at: z.number(),
});
/** Leases of a host that wait, whatever the policy says, until somebody unlocks them. */
export type Lock = z.infer<typeof lockSchema>;

const PREFIX = "release/lock/";
const keyOf = (id: string, path: string | null) => `${PREFIX}${id}/${path === null ? "all" : pathName(path)}`;

/** Locks of volumes: durable, and in force from the moment they are added. */
export class Locks {
  readonly #entries = new Map<string, Lock>();

  /** Reads what the store knows. */
  static async load(store: Store): Promise<Locks> {
    const locks = new Locks();
    for (const entry of await store.list(PREFIX)) locks.#entries.set(entry.key, decodeRecord(lockSchema, entry));
    return locks;
  }

  /** What makes the lease wait, if anything does. */
  find(id: string, path: string): Lock | undefined {
    return this.#entries.get(keyOf(id, null)) ?? this.#entries.get(keyOf(id, path));
  }

  list(): readonly Lock[] {
    return [...this.#entries.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Locks at once; the changes make it durable. */
  add(lock: Lock) {
    const key = keyOf(lock.id, lock.path);
    this.#entries.set(key, lock);
    return [putRecord(key, lock)];
  }

  /** What lifts the locks of a host: of these secrets, or with null all of them. `apply` once it is durable. */
  lift(id: string, paths: readonly string[] | null) {
    const keys = [...this.#entries]
      .filter(([, lock]) => lock.id === id && (paths === null || (lock.path !== null && paths.includes(lock.path))))
      .map(([key]) => key);
    return {
      count: keys.length,
      changes: keys.map((key) => ({ op: "delete" as const, key })),
      apply: () => {
        for (const key of keys) this.#entries.delete(key);
      },
    };
  }
}
