import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { HostError } from "../core/errors.ts";

/** File systems that live in memory, by their magic numbers (statfs(2)): tmpfs and ramfs. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);
const NAME = /^latchkey-edit-(\d+)-(\d+)-[A-Za-z0-9]{6}$/u;
const ZEROS = Buffer.alloc(64 * 1024);

/**
 * Where plaintext may live, best first. `runtimeDirectory` is the session's own (XDG_RUNTIME_DIR, XDG Base Directory
 * Specification); one that is another user's, as after su(1), is left out.
 */
export function memoryPlaces(uid: number, runtimeDirectory?: string): readonly string[] {
  const usual = [`/run/user/${uid}`, "/run", "/dev/shm"];
  const isOurs = runtimeDirectory?.startsWith("/") === true && ownerOf(runtimeDirectory) === uid;
  return isOurs ? [...new Set([runtimeDirectory, ...usual])] : usual;
}

const ownerOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.uid;

/** Whether a directory is on a file system in memory, as the kernel says; false when it is not there. */
function isInMemory(path: string): boolean {
  try {
    return IN_MEMORY.has(statfsSync(path).type);
  } catch {
    // not there or not ours to see: no place for us either way
    return false;
  }
}

/** When a process started, in clock ticks since boot (proc(5), field 22 of stat); undefined when it is not running. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // the second field, the program's name, may hold blanks and brackets: count from behind it
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

/**
 * A new directory with mode 0700 in memory, named after this process so that leftovers can be told. Throws HostError
 * `no-memory-place` when none of the places is a tmpfs or ramfs that we may write to.
 */
export function makeMemoryDirectory(places: readonly string[]): string {
  for (const place of places.filter(isInMemory)) {
    try {
      const made = mkdtempSync(join(place, `latchkey-edit-${process.pid}-${startTicks(process.pid) ?? "0"}-`));
      // proven once more on what was made: a mount may lie over the place
      if (isInMemory(made)) return made;
      rmdirSync(made);
    } catch {
      // not writable for us: the next place may be
    }
  }
  throw new HostError(
    "no-memory-place",
    "cannot edit: no tmpfs to keep the plaintext in, and it must not touch a disk",
    {
      hint: `mount a tmpfs at one of ${places.join(", ")}`,
      facts: { places },
    },
  );
}

/** Does something to a file that another edit may have wiped meanwhile: then there is nothing left to do. */
function unlessGone(act: () => void): void {
  try {
    act();
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
  }
}

function wipeFile(path: string): void {
  const handle = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = fstatSync(handle);
    for (let at = 0; at < size;) at += writeSync(handle, ZEROS, 0, Math.min(ZEROS.length, size - at), at);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/**
 * Overwrites every file below a directory with zeros, then removes all of it: the file itself and whatever the editor
 * left beside it. Never follows a symbolic link. Nothing happens when the directory is not there; two may wipe it at once.
 */
export function wipeDirectory(directory: string): void {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch {
    return;
  }
  for (const name of names) {
    const path = join(directory, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory()) wipeDirectory(path);
    else if (stat !== undefined) {
      unlessGone(() => {
        if (stat.isFile()) wipeFile(path);
        unlinkSync(path);
      });
    }
  }
  unlessGone(() => rmdirSync(directory));
}

/**
 * Wipes what an earlier run left when it was killed: directories of our own user, by our name pattern, whose process is
 * gone. Returns their paths.
 */
export function wipeLeftovers(places: readonly string[], uid: number): readonly string[] {
  const wiped: string[] = [];
  for (const place of places.filter(isInMemory)) {
    for (const name of readdirSync(place)) {
      const match = NAME.exec(name);
      const path = join(place, name);
      const stat = match ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
      // in a directory that all may write to, only what is really ours
      if (!match || !stat?.isDirectory() || stat.uid !== uid) continue;
      if (startTicks(Number(match[1])) === match[2]) continue;
      wipeDirectory(path);
      wiped.push(path);
    }
  }
  return wiped;
}

/** Swap areas on a disk, to which the kernel may write memory out: a warning's worth. zram is memory itself. */
export function diskSwaps(): readonly string[] {
  try {
    const areas = readFileSync("/proc/swaps", "utf8").split("\n").slice(1);
    return areas.map((line) => line.split(/\s/u)[0] ?? "").filter((name) => name !== "" && !name.includes("/zram"));
  } catch {
    return [];
  }
}
