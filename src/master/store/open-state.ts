import { join } from "node:path";
import { takeOwnDirectory } from "../../core/own-directory.ts";
import { SqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

/**
 * The store of a state directory, which is made with mode 0700 when missing. Throws ConfigError `unsafe-directory` where others
 * can put files, HostError when it cannot be made, and as the store does.
 */
export function openState(directory: string, open = (path: string): Store => new SqliteStore(path)): Store {
  takeOwnDirectory("state_dir", directory, 0o700);
  return open(join(directory, "store.db"));
}
