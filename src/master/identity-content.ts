import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, open, readdir, rename, rm, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigError, HostError } from "../core/errors.ts";
import { assertOwnDirectory } from "../core/own-directory.ts";
import { Secret } from "../core/secret.ts";

const MAX_FILE_BYTES = 64 * 1024;
/** What follows the file's own name. */
const LEFTOVER = /^(?:[0-9a-f]{16}\.new|old)$/u;
const LOCK_TRIES = 150;
const LOCK_PAUSE_MS = 100;

/** Points that replacing the file passes; killed at any of them, what stands in its place opens. */
export type FilePoint = "written" | "kept-old" | "renamed" | "overwritten";
/** Called at each point: where tests end the process. */
export type ReachedFile = (point: FilePoint) => void;

/**
 * The identity file's content; undefined when there is none. Throws ConfigError `identity-permissions` when others can read
 * it, `bad-age-identity` when it cannot be read. The caller wipes it.
 */
export async function readContent(path: string): Promise<Secret | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ConfigError("bad-age-identity", `cannot read age identity "${path}"`, { cause: error });
  }
  try {
    const { mode, uid, size } = await file.stat();
    if ((mode & 0o077) !== 0 || uid !== process.geteuid?.()) {
      throw new ConfigError("identity-permissions", `cannot use age identity "${path}": others can read it`, {
        hint: `if nobody has read it: chmod 600 "${path}", owned by the user that the master runs as`,
      });
    }
    const bytes = Buffer.from(new ArrayBuffer(Math.min(size, MAX_FILE_BYTES)));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return Secret.take(bytes.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/**
 * Runs `act` while nobody else changes the identity file: an exclusive lock on a file beside it, which dies with its
 * process. What somebody who was killed left beside the file is overwritten and removed first. Throws HostError
 * `identity-busy` when another process keeps the lock for a quarter of a minute.
 */
export async function changingIdentity<T>(path: string, act: () => Promise<T>): Promise<T> {
  assertOwnDirectory("the directory of the age identity", dirname(path));
  const place = `${path}.lock`;
  await (await open(place, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)).close();
  const lock = new DatabaseSync(place);
  try {
    await takeLock(lock, path);
    await wipeLeftovers(path);
    return await act();
  } finally {
    lock.close();
  }
}

async function takeLock(lock: DatabaseSync, path: string): Promise<void> {
  for (let left = LOCK_TRIES; ; left -= 1) {
    try {
      lock.exec("pragma busy_timeout = 0; pragma journal_mode = memory; begin exclusive");
      return;
    } catch (cause) {
      if (left > 0) {
        await delay(LOCK_PAUSE_MS);
        continue;
      }
      throw new HostError("identity-busy", `cannot change age identity "${path}": another process is doing so`, {
        cause,
      });
    }
  }
}

/** What a kill left beside the file: contents that never took its place, and those that lost it. */
export async function leftovers(path: string): Promise<readonly string[]> {
  const own = `${basename(path)}.`;
  const names = (await readdir(dirname(path))).filter((name) => name.startsWith(own));
  return names.filter((name) => LEFTOVER.test(name.slice(own.length))).map((name) => join(dirname(path), name));
}

async function wipeLeftovers(path: string): Promise<void> {
  for (const left of await leftovers(path)) await overwrite(left);
}

/** Zeros over what a file holds, unless it has another name (then that is the identity itself), and its name goes. */
async function overwrite(path: string): Promise<void> {
  {
    await using file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    const { size, nlink } = await file.stat();
    if (nlink === 1) {
      await file.write(Buffer.alloc(size), 0, size, 0);
      await file.sync();
    }
  }
  await unlink(path);
  await syncDirectory(path);
}

/**
 * The new content whole beside the old one, synced, and renamed over it; the old one keeps a second name until zeros are
 * written over it, so that whoever comes after a kill finds it. To be called inside `changingIdentity`.
 */
export async function replaceContent(path: string, content: Secret, reached?: ReachedFile): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.new`;
  const old = `${path}.old`;
  try {
    await using file = await open(temporary, "wx", 0o600);
    await file.writeFile(content.expose());
    await file.sync();
    reached?.("written");
    await link(path, old);
    reached?.("kept-old");
    await rename(temporary, path);
    await syncDirectory(path);
  } catch (error) {
    // the second name goes before anything could be written over what still stands in its place
    await rm(old, { force: true });
    await rm(temporary, { force: true });
    throw error;
  }
  reached?.("renamed");
  await overwrite(old);
  reached?.("overwritten");
}

/** Written whole beside its place, synced, then linked there: a link fails when the name exists, so one writer wins. */
export async function createContent(path: string, content: Secret): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.new`;
  try {
    await using file = await open(temporary, "wx", 0o600);
    await file.writeFile(content.expose());
    await file.sync();
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    await unlink(temporary).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
  }
  await syncDirectory(path);
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(dirname(path), constants.O_RDONLY);
  await directory.sync();
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
