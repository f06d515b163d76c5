import { join } from "node:path";
import { ConfigError, HostError } from "./errors.ts";
import { isTrusted } from "./exposure.ts";
import { holdPath } from "./hold-path.ts";
import type { HoldOptions } from "./host.ts";

/** Any name: nothing of it is made or looked for. */
const NAME = "name";
const STICKY = 0o1000;

/** Walks to a name in the directory, for which nobody else may change names there nor on the way. */
function walkInto(path: string, options: HoldOptions): HostError | undefined {
  try {
    holdPath(join(path, NAME), options)?.[Symbol.dispose]();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof HostError) return thrown;
    throw thrown;
  }
}

const isUnsafe = ({ code }: HostError): boolean => code === "unsafe-path" || code === "unsafe-link";

function reasonOf({ facts, message }: HostError): string {
  const reason = facts["reason"];
  return typeof reason === "string" ? reason : message;
}

const unsafeDirectory = (setting: string, path: string, cause: HostError): ConfigError =>
  new ConfigError("unsafe-directory", `cannot use ${setting} "${path}": ${reasonOf(cause)}`, {
    cause,
    hint: "another user could put other files there: run this as the user whom it belongs to, or let nobody else write there and above it",
    facts: cause.facts,
  });

/**
 * Makes a directory with its missing parents, and proves that nobody but root and the user that we run as can change what its
 * names lead to, in it or on the way to it: from then on files there may be used by their path. `setting` says which one it
 * is. Throws ConfigError `unsafe-directory`, HostError when it cannot be made.
 */
export function takeOwnDirectory(setting: string, path: string, mode: number): void {
  const failure = walkInto(path, { parentsMode: mode });
  if (failure) throw isUnsafe(failure) ? unsafeDirectory(setting, path, failure) : failure;
}

/** Proves the same of one that need not be there; one that we may not look at proves itself useless. Throws as `takeOwnDirectory`. */
export function assertOwnDirectory(setting: string, path: string): void {
  const failure = walkInto(path, {});
  if (failure && isUnsafe(failure)) throw unsafeDirectory(setting, path, failure);
}

/**
 * Proves that a file which we make there under a name that nobody can guess stays that file: as `assertOwnDirectory`, or a
 * directory of root's or ours in which the sticky bit keeps it. Throws ConfigError `unsafe-directory`.
 */
export function assertKeepsOurs(what: string, path: string): void {
  const failure = walkInto(path, {});
  if (!failure || !isUnsafe(failure)) return;
  if (!isKeptSticky(path)) throw unsafeDirectory(what, path, failure);
}

function isKeptSticky(path: string): boolean {
  try {
    using held = holdPath(path, { followLast: true });
    const { uid = -1, mode = 0 } = held?.found ?? {};
    return (mode & STICKY) !== 0 && isTrusted(uid, process.geteuid?.() ?? 0);
  } catch (thrown) {
    if (thrown instanceof HostError) return false;
    throw thrown;
  }
}

/** Our own group may write: its members are let in by us, unless that is root's group. */
export function trustedGroup(): Pick<HoldOptions, "trustedGid"> {
  const gid = process.getegid?.() ?? 0;
  return gid === 0 ? {} : { trustedGid: gid };
}

/** Why others than `trustedGroup` can change what is in a tree that people write to; "" when nobody can. */
export function whyShared(path: string): string {
  const failure = walkInto(path, trustedGroup());
  return failure ? reasonOf(failure) : "";
}
