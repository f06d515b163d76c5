/** Owner and permission bits of a directory or of what is in it. */
export interface Access {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits, the sticky one among them; more bits do no harm. */
  readonly mode: number;
}

/** A directory in which others can put one thing in another's place, and who they are. */
export interface Exposure {
  readonly directory: string;
  /** For people: `"/home/u" belongs to user "u"`. */
  readonly reason: string;
}

/** Finds the name of an account, "" for none. */
export type NameAccount = (kind: "user" | "group", id: number) => string;

const STICKY = 0o1000;
const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;

const called = (kind: "user" | "group", id: number, name: string): string =>
  name === "" ? `${kind} ${id}` : `${kind} "${name}"`;

/** Root and the user that we run as: who else has their rights can do everything that we can. */
export function isTrusted(uid: number, own: number): boolean {
  return uid === 0 || uid === own;
}

/**
 * Who can change the names in a directory besides root, ourselves (`own`) and a group that is trusted; undefined when nobody can. A group counts, also
 * root's: its bits are the upper bound of what an access control list gives (acl(5)).
 */
export function findExposure(
  directory: string,
  { uid, gid, mode }: Access,
  own: number,
  nameAccount: NameAccount,
  trustedGid?: number,
): Exposure | undefined {
  if (!isTrusted(uid, own)) {
    return { directory, reason: `"${directory}" belongs to ${called("user", uid, nameAccount("user", uid))}` };
  }
  if ((mode & OTHERS_WRITE) !== 0) return { directory, reason: `every user may write to "${directory}"` };
  if ((mode & GROUP_WRITES) === 0 || gid === trustedGid) return undefined;
  return { directory, reason: `${called("group", gid, nameAccount("group", gid))} may write to "${directory}"` };
}

/**
 * Whether others cannot take this away from a directory although they may write there: the sticky bit keeps each to what is
 * their own (inode(7)), so what belongs to root or us stays, unless the directory itself is another's.
 */
export function isKeptBySticky(directory: Access, entry: Access, own: number): boolean {
  return isTrusted(directory.uid, own) && (directory.mode & STICKY) !== 0 && isTrusted(entry.uid, own);
}
