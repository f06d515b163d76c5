import { join } from "node:path";
import { sha256 } from "../core/crypto/hash.ts";
import { ConfigError, HostError } from "../core/errors.ts";
import { holdPath } from "../core/hold-path.ts";
import type { HeldPath, WriteOptions } from "../core/host.ts";
import { trustedGroup } from "../core/own-directory.ts";

/** A host's own pillar file as it stands. */
export interface HostFile {
  readonly text: string;
  /** SHA-256 of the bytes, hex; "" when there is no file. */
  readonly revision: string;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The file in its directory, held: below what others can change no link is followed. */
const hold = (file: string, parentsMode?: number): HeldPath | undefined =>
  holdPath(file, {
    ...trustedGroup(),
    allowUnsafePath: true,
    ...(parentsMode === undefined ? {} : { parentsMode }),
  });

const isLink = (thrown: unknown): boolean => thrown instanceof HostError && thrown.code === "unsafe-link";

/**
 * Reads it. Throws ConfigError when it is no regular file or not UTF-8, HostError when it cannot be read, `unsafe-link` where
 * another user could have planted a link on the way.
 */
export async function readHostFile(root: string, path: string): Promise<HostFile> {
  const file = join(root, path);
  try {
    using held = hold(file);
    if (held?.found === undefined) return { text: "", revision: "" };
    if (held.found.kind !== "file") {
      throw new ConfigError("bad-pillar-file", `cannot edit "${file}": it is a link or no regular file`);
    }
    const bytes = await held.readFile();
    return { text: UTF8.decode(bytes), revision: sha256(bytes).toString("hex") };
  } catch (error) {
    if (error instanceof ConfigError || isLink(error)) throw error;
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
 * Whatever happens, the old file or the new one is there. Throws HostError `pillar-not-written`, and `unsafe-link` as `readHostFile`.
 */
export async function replaceHostFile(root: string, path: string, text: string, access?: FileAccess): Promise<void> {
  const file = join(root, path);
  try {
    using held = hold(file, 0o700);
    if (held === undefined) throw new HostError("file-failed", `cannot write "${file}": it has no directory`);
    // awaited here: the directory is held until the file is in it
    await writeAs(held, Buffer.from(text), access === undefined ? [{ mode: 0o600 }] : accesses(access));
  } catch (cause) {
    if (isLink(cause)) throw cause;
    throw new HostError("pillar-not-written", `cannot write pillar file "${file}"`, { cause });
  }
}

/**
 * The access that the file before had, then what comes next to it: a master that is not root cannot give its files away. Then
 * the file is its own, and a group that it is not of gets nothing.
 */
const accesses = ({ uid, gid, mode }: FileAccess): readonly WriteOptions[] => [
  { uid, gid, mode: mode & 0o777 },
  { gid, mode: mode & 0o777 },
  { mode: mode & 0o707 },
];

async function writeAs(held: HeldPath, data: Buffer, [access, ...lesser]: readonly WriteOptions[]): Promise<void> {
  if (access === undefined) return;
  try {
    await held.writeFile(data, access);
  } catch (thrown) {
    if (lesser.length === 0 || !(thrown instanceof HostError) || thrown.facts["errno"] !== "EPERM") throw thrown;
    await writeAs(held, data, lesser);
  }
}
