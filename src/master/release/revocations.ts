import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { pathName } from "./path-name.ts";

const revocationSchema = z.object({
  id: z.string(),
  /** null: every secret of the host. */
  path: z.string().nullable(),
  by: z.string(),
  at: z.number(),
});
/** A host that gets a secret, or any, no more. */
export type Revocation = z.infer<typeof revocationSchema>;

const PREFIX = "release/revoked/";
const keyOf = (id: string, path: string | null) => `${PREFIX}${id}/${path === null ? "all" : pathName(path)}`;

/** Leases that were taken away, until somebody allows them again. */
export class Revocations {
  readonly #entries = new Map<string, Revocation>();

  /** Reads what the store knows. */
  static async load(store: Store): Promise<Revocations> {
    const revocations = new Revocations();
    for (const entry of await store.list(PREFIX)) {
      revocations.#entries.set(entry.key, decodeRecord(revocationSchema, entry));
    }
    return revocations;
  }

  /** What forbids the lease, if anything does. */
  find(id: string, path: string): Revocation | undefined {
    return this.#entries.get(keyOf(id, null)) ?? this.#entries.get(keyOf(id, path));
  }

  list(): readonly Revocation[] {
    return [...this.#entries.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Forbids at once; `changes` make it durable. */
  add(revocation: Revocation) {
    const key = keyOf(revocation.id, revocation.path);
    this.#entries.set(key, revocation);
    return [putRecord(key, revocation)];
  }

  /** What lifts revocations: of one secret, or with null all of the host's. `apply` once it is durable. */
  lift(id: string, path: string | null) {
    const keys = [...this.#entries]
      .filter(([, entry]) => entry.id === id && (path === null || entry.path === path))
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
