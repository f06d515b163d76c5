import { existsSync, mkdirSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The project's own directory. */
export const PROJECT = resolve(import.meta.dirname, "..");

/** The node binary that the project brings with it, links resolved. */
export function nodeBinary(): string {
  return realpathSync(join(PROJECT, "node_modules/.bin/node"));
}

/** Where what is slow to make is kept between runs: outside the work tree; made when missing. */
export function cacheDirectory(): string {
  const system = process.getuid?.() === 0 ? "/var/cache" : join(homedir(), ".cache");
  const path = join(process.env["XDG_CACHE_HOME"] || system, "latchkey-lab");
  mkdirSync(path, { recursive: true, mode: 0o755 });
  return path;
}

/** Where a run keeps what it throws away: memory if there is such a place, which keeps guests' memory off the disk. */
export function scratchParent(): string {
  return existsSync("/dev/shm") ? "/dev/shm" : (process.env["TMPDIR"] ?? "/tmp");
}

/** The time of Node's binary on a lab host, and of the minion's snapshot there: by its time a snapshot says which Node it is of. */
export const NODE_TIME = new Date("2026-01-01T00:00:00Z");
