import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../../core/errors.ts";
import { SqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

/** The store of a state directory, which is made with mode 0700 when missing. Throws HostError `state-dir`, and as the store does. */
export function openState(directory: string, open = (path: string): Store => new SqliteStore(path)): Store {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new HostError("state-dir", `cannot make the state directory "${directory}"`, { cause });
  }
  return open(join(directory, "store.db"));
}
