import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import * as fs from "node:fs/promises";
import { dirname } from "node:path";
import { HostError, LatchkeyError } from "../core/errors.ts";
import type { FileKind, FileStat, Host } from "../core/host.ts";

/** Most bytes that `readFile` takes into memory at once. */
export const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** The part of `Host` that is about files. */
export type HostFiles = Omit<Host, "run">;

/** Opened for reading without ever waiting for a peer (FIFO) or becoming the controlling terminal. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
const CREATE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const ABSENT = new Set(["ENOENT", "ENOTDIR"]);

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";

function failure(verb: string, path: string, thrown: unknown): LatchkeyError {
  if (thrown instanceof LatchkeyError) return thrown;
  const errno = codeOf(thrown);
  const reason = thrown instanceof Error ? thrown.message.replace(/^\w+: /u, "").replace(/, \w+ '.*$/u, "") : "";
  return new HostError("file-failed", `cannot ${verb} "${path}": ${reason}`, { cause: thrown, facts: { path, errno } });
}

async function attempt<T>(verb: string, path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (thrown) {
    throw failure(verb, path, thrown);
  }
}

async function unlessAbsent<T>(verb: string, path: string, act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (thrown) {
    if (ABSENT.has(codeOf(thrown))) return undefined;
    throw failure(verb, path, thrown);
  }
}

function kindOf(stats: Stats): FileKind {
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

function toFileStat(stats: Stats): FileStat {
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

async function openKinds(path: string, kinds: readonly FileKind[]): Promise<fs.FileHandle> {
  // Looked at before the open as well: opening some devices acts (watchdog, tape).
  const assertKind = (stats: Stats): void => {
    const kind = kindOf(stats);
    if (kinds.includes(kind)) return;
    throw new HostError("wrong-file-kind", `cannot read "${path}": it is a ${kind}`, { facts: { path, kind } });
  };
  assertKind(await fs.stat(path));
  const handle = await fs.open(path, READ_FLAGS);
  try {
    assertKind(await handle.stat());
    return handle;
  } catch (thrown) {
    await handle.close();
    throw thrown;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const readFile: Host["readFile"] = (path) =>
  unlessAbsent("read", path, async () => {
    await using handle = await openKinds(path, ["file"]);
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) {
      throw new HostError("file-too-large", `cannot read "${path}": it is larger than ${MAX_FILE_BYTES} bytes`, {
        facts: { path, size },
      });
    }
    // awaited here: a rejection while the handle is being closed would be nobody's
    return await handle.readFile();
  });

const readRange: Host["readRange"] = (path, offset, length) =>
  unlessAbsent("read", path, async () => {
    await using handle = await openKinds(path, ["file", "block"]);
    const buffer = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await handle.read(buffer, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  });

const writeFile: Host["writeFile"] = (path, data, { mode, uid, gid }) =>
  attempt("write", path, async () => {
    const temporary = `${path}.${randomBytes(8).toString("hex")}.new`;
    try {
      await using handle = await fs.open(temporary, CREATE_FLAGS, mode & 0o700);
      if (uid !== undefined || gid !== undefined) {
        const now = await handle.stat();
        await handle.chown(uid ?? now.uid, gid ?? now.gid);
      }
      // After chown, which clears set-user-id bits; and the open's mode was cut by the umask.
      await handle.chmod(mode);
      await handle.writeFile(data);
      await handle.sync();
      await fs.rename(temporary, path);
    } catch (thrown) {
      await fs.rm(temporary, { force: true });
      throw thrown;
    }
    await syncDirectory(dirname(path));
  });

async function makeDirectoryTree(path: string, mode: number): Promise<void> {
  try {
    await fs.mkdir(path, mode);
  } catch (thrown) {
    const code = codeOf(thrown);
    if (code === "ENOENT" && dirname(path) !== path) {
      await makeDirectoryTree(dirname(path), mode);
      await makeDirectoryTree(path, mode);
      return;
    }
    if (code === "EEXIST" && (await fs.stat(path)).isDirectory()) return;
    throw thrown;
  }
  // mkdir's mode is cut by the umask
  await fs.chmod(path, mode);
}

const remove: Host["remove"] = (path) =>
  attempt("remove", path, async () => {
    const stats = await unlessAbsent("remove", path, () => fs.lstat(path));
    if (stats === undefined) return;
    await unlessAbsent("remove", path, () => (stats.isDirectory() ? fs.rmdir(path) : fs.unlink(path)));
    await syncDirectory(dirname(path));
  });

const space: Host["space"] = (path) =>
  unlessAbsent("measure", path, async () => {
    const { bsize, blocks, bfree, bavail } = await fs.statfs(path);
    return { total: bsize * blocks, free: bsize * bfree, available: bsize * bavail };
  });

const readLink: Host["readLink"] = async (path) => {
  const stats = await unlessAbsent("read link", path, () => fs.lstat(path));
  if (stats === undefined) return undefined;
  return unlessAbsent("read link", path, () => fs.readlink(path));
};

const isSame = (a: Stats, b: Stats): boolean =>
  a.isBlockDevice() ? b.isBlockDevice() && a.rdev === b.rdev : a.dev === b.dev && a.ino === b.ino;

const hold: Host["hold"] = (path) =>
  unlessAbsent("hold", path, async () => {
    const handle = await openKinds(path, ["file", "block"]);
    const stats = await handle.stat();
    let closing: Promise<void> | undefined;
    return {
      stat: toFileStat(stats),
      path: `/proc/${process.pid}/fd/${handle.fd}`,
      isAt: (other) => unlessAbsent("look at", other, async () => isSame(stats, await fs.stat(other))),
      release: async () => {
        closing ??= handle.close();
        await closing;
      },
    };
  });

/** The machine's own files. Reading never blocks: only regular files (and block devices, for ranges) are opened. */
export const hostFiles: HostFiles = {
  readFile,
  readRange,
  writeFile,
  remove,
  space,
  readLink,
  hold,
  stat: (path) => unlessAbsent("look at", path, async () => toFileStat(await fs.stat(path))),
  lstat: (path) => unlessAbsent("look at", path, async () => toFileStat(await fs.lstat(path))),
  realPath: (path) => unlessAbsent("resolve", path, () => fs.realpath(path)),
  readDirectory: (path) => unlessAbsent("list", path, async () => (await fs.readdir(path)).sort()),
  makeDirectory: (path, mode) => attempt("make directory", path, () => makeDirectoryTree(path, mode)),
  setMode: (path, mode) => attempt("set the mode of", path, () => fs.chmod(path, mode)),
  setOwner: (path, uid, gid) => attempt("set the owner of", path, () => fs.chown(path, uid, gid)),
};
