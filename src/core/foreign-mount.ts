import { readFileSync, type Stats } from "node:fs";
import { isTrusted } from "./exposure.ts";
import { toFileStat } from "./file-stat.ts";

/** A line of /proc/self/mountinfo (proc(5)) that is of a file system in user space: its number and options. */
const FUSE = /^\d+ \d+ (\S+) .* - fuse\S* \S+ (\S+)$/u;

/**
 * The user whose program says what is in a file system (FUSE) and is neither root nor we; undefined for any other file system.
 * That program may say of every file that it is root's, and something else each time.
 */
export function foreignServerOf(stats: Stats, own: number): number | undefined {
  const { dev } = toFileStat(stats);
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [, number, options = ""] = FUSE.exec(line) ?? [];
    if (number !== dev) continue;
    const uid = Number(/(?:^|,)user_id=(\d+)/u.exec(options)?.[1] ?? Number.NaN);
    if (!isTrusted(uid, own)) return uid;
  }
  return undefined;
}
