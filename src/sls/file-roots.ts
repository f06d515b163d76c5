import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { HostError } from "../core/errors.ts";

/** A file of the roots. `path` is relative to its root, with `/`. */
export interface RootFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** A piece of a file; `eof` when it reaches the end. */
export interface RootChunk {
  readonly data: Uint8Array;
  readonly eof: boolean;
}

/**
 * Files below a list of directories, the first root that has a path wins. Nothing outside a root is ever read: paths are
 * canonicalised and proven inside, and only regular files are opened, never FIFOs, devices or sockets. Whatever is
 * malformed, missing or outside is undefined, so that a remote asker learns nothing more.
 */
export interface FileRoots {
  read(path: string): Promise<Uint8Array | undefined>;
  /** Up to `length` bytes from `offset`. */
  readChunk(path: string, offset: number, length: number): Promise<RootChunk | undefined>;
  /** Every file, sorted by path; links to files inside their root count, links to directories are not followed. */
  list(): Promise<readonly RootFile[]>;
}

const ABSENT = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "EACCES", "ENXIO"]);
const MAX_PATH_CHARACTERS = 4096;
/** Deepest directory that `list` enters. */
const MAX_DEPTH = 64;

/** A clean relative path: no empty, `.` or `..` part, no NUL, no backslash. */
export function isRelativePath(path: string): boolean {
  // oxlint-disable-next-line no-control-regex
  if (path === "" || path.length > MAX_PATH_CHARACTERS || /[\u0000-\u001F\\]/u.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

async function orAbsent<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && ABSENT.has(String(thrown.code))) return undefined;
    throw new HostError("file-root-failed", `cannot read file roots: ${String(thrown)}`, { cause: thrown });
  }
}

/** Opens a regular file that is provably inside `root` (canonical); undefined for everything else. */
async function openInside(root: string, path: string): Promise<FileHandle | undefined> {
  const real = await orAbsent(realpath(join(root, path)));
  if (real === undefined || !real.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
  // look before opening: opening a FIFO hangs, opening a device may act
  if ((await orAbsent(lstat(real)))?.isFile() !== true) return undefined;
  const handle = await orAbsent(open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
  if (!handle) return undefined;
  // a directory on the way may have been swapped for a link since: ask the kernel what was opened
  const opened = await orAbsent(readlink(`/proc/self/fd/${handle.fd}`));
  if (opened === real && (await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<RootChunk> {
  const { size } = await handle.stat();
  const data = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
  let filled = 0;
  while (filled < data.length) {
    const { bytesRead } = await handle.read(data, filled, data.length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return { data: data.subarray(0, filled), eof: offset + filled >= size };
}

async function walk(root: string, below: string, depth: number, found: Set<string>): Promise<void> {
  const entries = depth > MAX_DEPTH ? [] : await orAbsent(readdir(join(root, below), { withFileTypes: true }));
  for (const entry of entries ?? []) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (!isRelativePath(path)) continue;
    if (entry.isDirectory()) await walk(root, path, depth + 1, found);
    else if (entry.isFile() || entry.isSymbolicLink()) found.add(path);
  }
}

class Roots implements FileRoots {
  readonly #roots: readonly string[];
  /** Hashes by path, good as long as the file's identity and times are the same. */
  readonly #hashes = new Map<string, { readonly mark: string; readonly file: RootFile }>();

  constructor(roots: readonly string[]) {
    this.#roots = roots;
  }

  async #first<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T | undefined> {
    if (!isRelativePath(path)) return undefined;
    for (const configured of this.#roots) {
      const root = await orAbsent(realpath(configured));
      const handle = root === undefined ? undefined : await openInside(root, path);
      if (handle) {
        try {
          return await use(handle);
        } finally {
          await handle.close();
        }
      }
    }
    return undefined;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    return this.#first(path, async (handle) => (await readAt(handle, 0, Number.MAX_SAFE_INTEGER)).data);
  }

  async readChunk(path: string, offset: number, length: number): Promise<RootChunk | undefined> {
    return this.#first(path, async (handle) => readAt(handle, offset, length));
  }

  async #hash(path: string, handle: FileHandle): Promise<RootFile> {
    const stat = await handle.stat({ bigint: true });
    const mark = [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(":");
    const known = this.#hashes.get(path);
    if (known?.mark === mark) return known.file;
    const hash = createHash("sha256");
    let size = 0;
    for (;;) {
      const { data, eof } = await readAt(handle, size, 1024 * 1024);
      hash.update(data);
      size += data.length;
      if (eof || data.length === 0) break;
    }
    const file = { path, size, sha256: hash.digest("hex") };
    this.#hashes.set(path, { mark, file });
    return file;
  }

  async list(): Promise<readonly RootFile[]> {
    const paths = new Set<string>();
    for (const configured of this.#roots) {
      const root = await orAbsent(realpath(configured));
      if (root !== undefined) await walk(root, "", 0, paths);
    }
    const files: RootFile[] = [];
    for (const path of [...paths].sort()) {
      const file = await this.#first(path, async (handle) => this.#hash(path, handle));
      if (file) files.push(file);
    }
    for (const path of this.#hashes.keys()) if (!paths.has(path)) this.#hashes.delete(path);
    return files;
  }
}

/** File roots over directories of this machine; looks at the disk anew for every call. Relative roots are from the cwd. */
export function openRoots(roots: readonly string[]): FileRoots {
  return new Roots(roots);
}
