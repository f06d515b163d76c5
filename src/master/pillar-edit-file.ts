import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { sha256 } from "../core/crypto/hash.ts";
import { ConfigError, HostError } from "../core/errors.ts";

/** A host's own pillar file as it stands. */
export interface HostFile {
  readonly text: string;
  /** SHA-256 of the bytes, hex; "" when there is no file. */
  readonly revision: string;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads it. Throws ConfigError when it is no regular file or not UTF-8, HostError when it cannot be read. */
export async function readHostFile(root: string, path: string): Promise<HostFile> {
  const file = join(root, path);
  try {
    if (!(await lstat(file)).isFile()) {
      throw new ConfigError("bad-pillar-file", `cannot edit "${file}": it is a link or no regular file`);
    }
    const bytes = await readFile(file);
    return { text: UTF8.decode(bytes), revision: sha256(bytes).toString("hex") };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { text: "", revision: "" };
    if (error instanceof TypeError) {
      throw new ConfigError("bad-pillar-file", `cannot edit "${file}": it is not UTF-8 text`, { cause: error });
    }
    throw new HostError("pillar-unreadable", `cannot read pillar file "${file}"`, { cause: error });
  }
}

/** Who may do what with a file. */
export interface FileAccess {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Replaces it whole: a file of mode 0600 (or with the access given) with an unguessable name beside it, synced, renamed over it, the directory synced.
 * Whatever happens, the old file or the new one is there. Throws HostError `pillar-not-written`.
 */
export async function replaceHostFile(root: string, path: string, text: string, access?: FileAccess): Promise<void> {
  const file = join(root, path);
  const temporary = `${file}.${randomBytes(8).toString("hex")}.new`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    try {
      const handle = await open(temporary, "wx", 0o600);
      try {
        await handle.writeFile(text);
        if (access) await giveAccess(handle, access);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file);
    } finally {
      await rm(temporary, { force: true });
    }
    const directory = await open(dirname(file), constants.O_RDONLY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (cause) {
    throw new HostError("pillar-not-written", `cannot write pillar file "${file}"`, { cause });
  }
}

/**
 * Gives a new file the access that the one before had. A master that is not root cannot give its files away: then the file
 * is its own, and a group that it is not of gets nothing.
 */
async function giveAccess(handle: FileHandle, { uid, gid, mode }: FileAccess): Promise<void> {
  const keepsGroup = (await chowned(handle, uid, gid)) || (await chowned(handle, -1, gid));
  await handle.chmod(mode & (keepsGroup ? 0o777 : 0o707));
}

async function chowned(handle: FileHandle, uid: number, gid: number): Promise<boolean> {
  try {
    await handle.chown(uid, gid);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EPERM") return false;
    throw error;
  }
}
