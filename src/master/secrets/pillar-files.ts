import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import type { FileAccess } from "../pillar-edit-file.ts";

/** A pillar file on disk. */
export interface PillarFileEntry {
  readonly root: string;
  /** Relative to the root, no link in it. */
  readonly path: string;
  readonly access: FileAccess;
}

/** What pillar roots hold, sorted. */
export interface PillarListing {
  /** Each once, however many names it has. */
  readonly files: readonly PillarFileEntry[];
  /** Names that cannot be looked behind: links in a circle or to where nothing may be read, and what is no regular file. */
  readonly unclear: readonly { readonly name: string; readonly reason: string }[];
  /** Links that lead out of their root: compiling a pillar refuses them, so nothing that is served depends on them. */
  readonly outside: readonly { readonly name: string; readonly reason: string }[];
}

/**
 * Every SLS file and host file below pillar roots; links that stay inside their root are followed, as compiling a pillar
 * follows them. Roots that are not there have none, and a link that leads nowhere (the lock of an editor) is no file. Throws what reading a directory throws.
 */
export async function listPillarFiles(roots: readonly string[]): Promise<PillarListing> {
  const files = new Map<string, PillarFileEntry>();
  const unclear: { name: string; reason: string }[] = [];
  const outside: { name: string; reason: string }[] = [];
  for (const root of new Set(roots)) {
    const found = await resolved(root);
    if (found.kind === "found") await walk({ root, real: found.real, files, unclear, outside, seen: new Set() }, "");
  }
  return { files: [...files.values()], unclear, outside };
}

interface Walk {
  readonly root: string;
  /** The root without links. */
  readonly real: string;
  readonly files: Map<string, PillarFileEntry>;
  readonly unclear: { name: string; reason: string }[];
  readonly outside: { name: string; reason: string }[];
  readonly seen: Set<string>;
}

/** Why a name leads to nothing that could be looked at: there is nothing, or it cannot be known. */
const MISSING: ReadonlySet<unknown> = new Set(["ENOENT", "ENOTDIR"]);
const UNKNOWN: ReadonlySet<unknown> = new Set(["ELOOP", "EACCES"]);
const isPillarFile = (path: string) => path.endsWith(".sls") || /^hosts\/[^/]+\.yaml$/u.test(path);

async function walk(at: Walk, directory: string): Promise<void> {
  const real = await realpath(join(at.root, directory));
  // what counts as a pillar file in a directory depends on nothing but this: links cannot lead in circles
  const key = `${real}\0${directory === "hosts" ? "hosts" : ""}`;
  if (at.seen.has(key)) return;
  at.seen.add(key);
  const entries = await readdir(real, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    await take(at, entry, directory === "" ? entry.name : `${directory}/${entry.name}`);
  }
}

async function take(at: Walk, entry: Dirent, path: string): Promise<void> {
  const name = `${at.root}/${path}`;
  const refuse = (reason: string) => at.unclear.push({ name, reason: `not understood: ${reason}` });
  if (entry.isDirectory()) return walk(at, path);
  if (!entry.isSymbolicLink() && !isPillarFile(path)) return undefined;
  const found = await resolved(join(at.root, path));
  if (found.kind !== "found") {
    if (found.kind === "unknown" && isPillarFile(path))
      refuse("it is a link in a circle, or to where nothing may be read");
    return undefined;
  }
  const { real } = found;
  const facts = await stat(real);
  if (!isPillarFile(path) && !facts.isDirectory()) return undefined;
  const inside = relative(at.real, real);
  if (inside.startsWith("..")) at.outside.push({ name, reason: `it is a link that leads out of "${at.root}"` });
  else if (facts.isDirectory()) return walk(at, path);
  else if (!facts.isFile()) refuse("it is no regular file");
  else if (!at.files.has(real)) {
    at.files.set(real, { root: at.root, path: inside, access: { mode: facts.mode, uid: facts.uid, gid: facts.gid } });
  }
  return undefined;
}

type Resolved =
  | { readonly kind: "found"; readonly real: string }
  | { readonly kind: "missing" }
  | { readonly kind: "unknown" };

async function resolved(path: string): Promise<Resolved> {
  try {
    return { kind: "found", real: await realpath(path) };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (MISSING.has(code)) return { kind: "missing" };
    if (UNKNOWN.has(code)) return { kind: "unknown" };
    throw error;
  }
}
