import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { link, lstat, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError, errorMessage, HostError, LatchkeyError } from "../../core/errors.ts";

/** Whether a file that is there already is replaced. */
export type Existing = "refuse" | "replace";

const exists = (path: string) =>
  new ConfigError("file-exists", `cannot write "${path}": it is there already`, {
    hint: "name another file, or replace it with --force",
  });

/**
 * Makes a file of mode 0600 whole or not at all: `fill` writes to an unguessable name beside it and proves it, then it is
 * synced and takes its place. Resolves with what `fill` does. Throws ConfigError `file-exists`, HostError `file-failed`, and
 * what `fill` throws.
 */
export async function fillFile<T>(
  path: string,
  existing: Existing,
  fill: (temporary: string) => Promise<T>,
): Promise<T> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.new`;
  try {
    await assertFree(path, existing);
    await (await open(temporary, "wx", 0o600)).close();
    try {
      const result = await fill(temporary);
      await sync(temporary, constants.O_RDWR);
      await place(temporary, path, existing);
      await sync(dirname(path), constants.O_RDONLY);
      return result;
    } finally {
      await rm(temporary, { force: true });
    }
  } catch (cause) {
    if (cause instanceof LatchkeyError) throw cause;
    const isShut = ["EROFS", "EACCES", "EPERM"].includes(String(codeOf(cause)));
    throw new HostError("file-failed", `cannot write "${path}": ${errorMessage(cause)}`, {
      cause,
      ...(isShut
        ? {
            hint: "the master writes it, as its own user: name a place that its unit lets it write, such as /var/backups/latchkey",
          }
        : {}),
    });
  }
}

/** Nothing but a regular file is ever replaced. */
async function assertFree(path: string, existing: Existing): Promise<void> {
  try {
    if (!(await lstat(path)).isFile())
      throw new ConfigError("bad-file", `cannot write "${path}": it is no regular file`);
    if (existing === "refuse") throw exists(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

async function place(temporary: string, path: string, existing: Existing): Promise<void> {
  if (existing === "replace") return rename(temporary, path);
  try {
    // unlike a rename, this replaces nothing that came meanwhile
    await link(temporary, path);
    return undefined;
  } catch (error) {
    if (codeOf(error) === "EEXIST") throw exists(path);
    // a file system without hard links, as on a stick
    if (codeOf(error) !== "EPERM" && codeOf(error) !== "ENOTSUP") throw error;
    await assertFree(path, existing);
    return rename(temporary, path);
  }
}

async function sync(path: string, flags: number): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? error.code : undefined);
