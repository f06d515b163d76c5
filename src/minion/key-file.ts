import { randomBytes } from "node:crypto";
import { closeSync, constants, fsyncSync, openSync, fstatSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { lstatSync, mkdirSync, readdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";

/** statfs(2): TMPFS_MAGIC. */
const TMPFS = 0x01021994;
const NAME = /^key-(\d+)-(\d+)-[0-9a-f]{32}$/u;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY, O_RDWR, O_NONBLOCK } = constants;

/** Where key files may be: the first of these on a tmpfs. */
export function keyFileDirectories(runDir: string): readonly [string, ...string[]] {
  return [join(runDir, "keys"), "/dev/shm/latchkey-keys"];
}

/**
 * For a tool that cannot read its key from a pipe: hands `use` the path of a file with the secret, and overwrites and
 * removes the file when `use` ends, however it ends. The file is on a tmpfs, 0600 from its first byte, its name cannot be
 * guessed. One that a killed minion leaves behind is found by `wipeLeftKeyFiles`. Throws HostError `no-tmpfs` when none
 * of the directories is on a tmpfs or ours alone; no byte was written then.
 */
export async function withKeyFile<T>(
  directories: readonly [string, ...string[]],
  secret: Secret,
  use: (path: string) => Promise<T>,
): Promise<T> {
  return withKeyFilePath(directories, async (path) => {
    const file = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
    try {
      const bytes = secret.expose();
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
    } finally {
      closeSync(file);
    }
    return use(path);
  });
}

/**
 * As `withKeyFile`, for a tool that makes the file itself: there is none at the path yet, and what is there when `use` ends
 * is overwritten and removed.
 */
export async function withKeyFilePath<T>(
  directories: readonly [string, ...string[]],
  use: (path: string) => Promise<T>,
): Promise<T> {
  const directory = directories.find((candidate) => isSafe(candidate, { make: true }));
  if (directory === undefined) {
    throw new HostError("no-tmpfs", `cannot make a key file: no tmpfs of ours alone at "${directories.join('", "')}"`, {
      hint: "mount a tmpfs on /run or /dev/shm",
    });
  }
  const { pid } = process;
  const path = join(directory, `key-${pid}-${startOf(pid) ?? "0"}-${randomBytes(16).toString("hex")}`);
  try {
    return await use(path);
  } finally {
    wipeFile(path);
  }
}

/** Overwrites and removes the key files of minions that are gone. Returns how many there were. */
export function wipeLeftKeyFiles(directories: readonly string[]): number {
  const left = directories
    .filter((directory) => isSafe(directory, { make: false }))
    .flatMap((directory) => readdirSync(directory).map((name) => ({ name, path: join(directory, name) })))
    .filter(({ name }) => {
      const [, pid, start] = NAME.exec(name) ?? [];
      return pid !== undefined && startOf(Number(pid)) !== start;
    });
  for (const { path } of left) wipeFile(path);
  return left.length;
}

/** Whether the directory is (or was made) a real one on a tmpfs, of this user alone. */
function isSafe(directory: string, { make }: { readonly make: boolean }): boolean {
  try {
    if (make && isTmpfs(join(directory, ".."))) mkdirSync(directory, { mode: 0o700 });
  } catch (thrown) {
    if (codeOf(thrown) !== "EEXIST" && codeOf(thrown) !== "ENOENT") return false;
  }
  try {
    const stats = lstatSync(directory);
    return stats.isDirectory() && stats.uid === process.getuid?.() && (stats.mode & 0o077) === 0 && isTmpfs(directory);
  } catch {
    // not there
    return false;
  }
}

const isTmpfs = (path: string) => statfsSync(path).type === TMPFS;

/** When a process started, in ticks since the boot (proc(5), stat, field 22); undefined when it is gone. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // the name in field 2 may hold blanks and brackets
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    // ENOENT, or ESRCH when it ends just now
    return undefined;
  }
}

/** On a tmpfs a write in place overwrites the very pages. */
function wipeFile(path: string): void {
  let file: number;
  try {
    file = openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return;
    throw thrown;
  }
  try {
    const { size } = fstatSync(file);
    writeSync(file, Buffer.alloc(size), 0, size, 0);
    fsyncSync(file);
  } finally {
    closeSync(file);
    unlinkSync(path);
  }
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
}
