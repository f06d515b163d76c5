import type { Stats } from "node:fs";
import { HostError, LatchkeyError } from "./errors.ts";
import type { FileKind, FileStat } from "./host.ts";

const ABSENT = new Set(["ENOENT", "ENOTDIR"]);

/** The errno of what a call of node:fs threw, such as `ENOENT`; "" for anything else. */
export const errnoOf = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";

/** Whether it was thrown because there is no such path. */
export const isAbsence = (thrown: unknown): boolean => ABSENT.has(errnoOf(thrown));

/** What a call of node:fs threw as a HostError `file-failed`; what is ours already stays as it is. */
export function fileFailure(verb: string, path: string, thrown: unknown): LatchkeyError {
  if (thrown instanceof LatchkeyError) return thrown;
  const errno = errnoOf(thrown);
  const reason = thrown instanceof Error ? thrown.message.replace(/^\w+: /u, "").replace(/, \w+(?: '.*)?$/u, "") : "";
  return new HostError("file-failed", `cannot ${verb} "${path}": ${reason}`, {
    cause: thrown,
    facts: { path, errno },
    ...(errno === "EBUSY"
      ? { hint: "something is mounted at this very path, as containers do with single files: change it where it is" }
      : {}),
  });
}

/** The kind of a file. */
export function kindOf(stats: Stats): FileKind {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isBlockDevice()) return "block";
  if (stats.isCharacterDevice()) return "char";
  if (stats.isFIFO()) return "fifo";
  return "socket";
}

/** Linux's device number as `major:minor` (makedev(3)). */
function deviceNumber(rdev: number): string {
  const low = rdev % 2 ** 32;
  const high = Math.floor(rdev / 2 ** 32);
  const major = ((low >>> 8) & 0xfff) + (high & ~0xfff);
  const minor = (low & 0xff) + ((low >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** What node:fs tells of a file, in our own words. */
export function toFileStat(stats: Stats): FileStat {
  const kind = kindOf(stats);
  return {
    kind,
    size: stats.size,
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    mtimeMs: stats.mtimeMs,
    rdev: kind === "block" || kind === "char" ? deviceNumber(stats.rdev) : "",
    dev: deviceNumber(stats.dev),
  };
}
