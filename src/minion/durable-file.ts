import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a new file with this content, on disk (file and name) when it resolves: one commit of the file system's journal,
 * where a temporary file and a rename take two. After a power cut in the middle the file may be there in part, so its
 * format must tell. Rejects with EEXIST when the name is taken.
 */
export async function createDurableFile(path: string, data: string | Uint8Array): Promise<void> {
  const handle = await open(
    path,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncDirectoryOf(path);
}

/** Puts the name of a file (its creation or removal) on disk. */
export async function syncDirectoryOf(path: string): Promise<void> {
  const handle = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
