import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { FileAccess } from "../pillar-edit-file.ts";

/** A pillar file on disk. */
export interface PillarFileEntry {
  readonly root: string;
  /** Relative to the root. */
  readonly path: string;
  readonly access: FileAccess;
}

/**
 * Every SLS file and host file below pillar roots, sorted; links are not followed. Roots that are not there have none.
 * Throws what reading a directory throws.
 */
export async function listPillarFiles(roots: readonly string[]): Promise<readonly PillarFileEntry[]> {
  const found: PillarFileEntry[] = [];
  for (const root of new Set(roots)) {
    for (const path of (await namesBelow(root)).toSorted()) {
      if (!path.endsWith(".sls") && !/^hosts\/[^/]+\.yaml$/u.test(path)) continue;
      const stat = await lstat(join(root, path));
      if (stat.isFile()) found.push({ root, path, access: { mode: stat.mode, uid: stat.uid, gid: stat.gid } });
    }
  }
  return found;
}

async function namesBelow(root: string): Promise<readonly string[]> {
  try {
    return await readdir(root, { recursive: true });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
