import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { command } from "./command.ts";
import { withLock } from "./lock.ts";
import { cacheDirectory } from "./place.ts";

const KEPT_DAYS = 30;

/**
 * The path of something slow to make that is kept between runs as `<family>-<key>` in the cache. `make` makes it in the
 * empty directory that it gets, and returns the path of what is to be kept: several processes at once make it once, and one
 * that dies, or loses its power, leaves nothing that the next one takes for whole.
 */
export async function cached(family: string, key: string, make: (work: string) => Promise<string>): Promise<string> {
  const cache = cacheDirectory();
  const name = `${family}-${key}`;
  const path = join(cache, name);
  if (existsSync(path)) {
    touch(path);
    return path;
  }
  await withLock(join(cache, `${family}.lock`), async () => {
    if (existsSync(path)) return;
    sweep(cache, family, name);
    const work = join(cache, `making-${name}`);
    mkdirSync(work, { recursive: true });
    try {
      const made = await make(work);
      await command(["sync", "--file-system", made], { timeoutMs: 300_000 });
      renameSync(made, path);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  });
  return path;
}

/** A directory in use is not old. The time of a file stays: copy-on-write files name the time of the image below them. */
function touch(path: string): void {
  if (statSync(path).isDirectory()) utimesSync(path, new Date(), new Date());
}

/** Removes what dead makers left, and what was made by older recipes and not used for a while. */
function sweep(cache: string, family: string, current: string): void {
  for (const entry of readdirSync(cache)) {
    const path = join(cache, entry);
    const { mtimeMs = Date.now() } = statSync(path, { throwIfNoEntry: false }) ?? {};
    const old = Date.now() - mtimeMs > KEPT_DAYS * 86_400_000;
    if (entry.startsWith(`making-${family}-`) || (entry.startsWith(`${family}-`) && entry !== current && old)) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}
