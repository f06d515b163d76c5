import { chmodSync, chownSync, constants, fstatSync, mkdirSync, openSync, renameSync, rmdirSync } from "node:fs";
import { closeSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { HostError } from "./errors.ts";
import { isTrusted } from "./exposure.ts";
import { isAbsence } from "./file-stat.ts";
import type { OwnershipChange } from "./host.ts";

/** open(2): a descriptor of the thing itself, of whatever kind, that opens nothing; not among Node's constants. */
export const O_PATH = 0o10000000;

const { O_DIRECTORY, O_NOFOLLOW } = constants;

/** A name in a directory that is held open, or what the descriptor itself is of (proc(5)): openat(2) for Node. */
export const procPath = (descriptor: number, name?: string): string =>
  name === undefined ? `/proc/self/fd/${descriptor}` : `/proc/self/fd/${descriptor}/${name}`;

/** A descriptor of what has the name, a link itself when it is one; undefined when nothing has. */
export function openName(directory: number, name: string): number | undefined {
  try {
    return openSync(procPath(directory, name), O_PATH | O_NOFOLLOW);
  } catch (thrown) {
    if (isAbsence(thrown)) return undefined;
    throw thrown;
  }
}

/** Sets owner and group where they differ, then the mode, since a new owner clears set-user-id bits. */
export function setOwnershipOf(descriptor: number, change: OwnershipChange): void {
  const now = fstatSync(descriptor);
  const { uid = now.uid, gid = now.gid, mode } = change;
  if (uid !== now.uid || gid !== now.gid) chownSync(procPath(descriptor), uid, gid);
  if (mode !== undefined) chmodSync(procPath(descriptor), mode);
}

/**
 * Makes a directory in one that is held open; what is open is returned. Where others can change names it is made in a room of our
 * own and moved out when its owner is right: between its making and its opening they could put another of ours in its place.
 */
export function makeDirectoryIn(
  directory: number,
  name: string,
  ownership: OwnershipChange & { readonly mode: number },
  { isUnsafe, own }: { readonly isUnsafe: boolean; readonly own: number },
): number {
  if (!isUnsafe) {
    mkdirSync(procPath(directory, name), ownership.mode);
    const made = openSync(procPath(directory, name), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    // mkdir's mode is cut by the umask
    setOwnershipOf(made, ownership);
    return made;
  }
  const roomName = `.${randomBytes(8).toString("hex")}.new`;
  mkdirSync(procPath(directory, roomName), 0o700);
  const room = openSync(procPath(directory, roomName), O_PATH | O_DIRECTORY | O_NOFOLLOW);
  try {
    const { uid, mode } = fstatSync(room);
    if (!isTrusted(uid, own) || (mode & 0o077) !== 0) {
      throw new HostError("unsafe-path", `cannot make directory "${name}": somebody puts other things in its place`);
    }
    mkdirSync(procPath(room, name), 0o700);
    const made = openSync(procPath(room, name), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    setOwnershipOf(made, ownership);
    renameSync(procPath(room, name), procPath(directory, name));
    return made;
  } finally {
    closeSync(room);
    rmdirSync(procPath(directory, roomName));
  }
}
