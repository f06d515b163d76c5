import { constants, type Stats } from "node:fs";
import * as fs from "node:fs/promises";
import { fileTooLarge, MAX_FILE_BYTES } from "../core/descriptor-path.ts";
import { HostError } from "../core/errors.ts";
import { fileFailure, isAbsence, kindOf, toFileStat } from "../core/file-stat.ts";
import { holdPath } from "../core/hold-path.ts";
import type { FileKind, Host } from "../core/host.ts";

/** The part of `Host` that is about files. */
export type HostFiles = Omit<Host, "run">;

/** Opened for reading without ever waiting for a peer (FIFO) or becoming the controlling terminal. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

async function unlessAbsent<T>(verb: string, path: string, act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (thrown) {
    if (isAbsence(thrown)) return undefined;
    throw fileFailure(verb, path, thrown);
  }
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

const readFile: Host["readFile"] = (path) =>
  unlessAbsent("read", path, async () => {
    await using handle = await openKinds(path, ["file"]);
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) throw fileTooLarge(path, size);
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

function noSuchFile(verb: string, path: string): HostError {
  const facts = { path, errno: "ENOENT" };
  return new HostError("file-failed", `cannot ${verb} "${path}": no such file or directory`, { facts });
}

const writeFile: Host["writeFile"] = async (path, data, options) => {
  using held = holdPath(path);
  if (held === undefined) throw noSuchFile("write", path);
  await held.writeFile(data, options);
};

const makeDirectory: Host["makeDirectory"] = async (path, mode) => {
  using held = holdPath(path, { followLast: true, parentsMode: mode });
  if (held === undefined) throw noSuchFile("make directory", path);
  if (held.found?.kind === "directory") return;
  try {
    await held.makeDirectory({ mode });
  } catch (thrown) {
    // another process made it meanwhile
    if (held.found !== undefined || (await hostFiles.lstat(held.path))?.kind !== "directory") throw thrown;
  }
};

const remove: Host["remove"] = async (path) => {
  using held = holdPath(path);
  if (held?.found !== undefined) await held.remove();
};

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
  makeDirectory,
  holdPath: async (path, options) => holdPath(path, options),
};
