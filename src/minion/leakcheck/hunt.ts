import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as yieldToLoop } from "node:timers/promises";
import type { MaskedNeedles } from "../../core/masked-needles.ts";

/** Where a form of the canary was found. */
export interface Hit {
  readonly where: string;
  readonly form: string;
  readonly offset: number;
}

/** What the search of one place came to. */
export interface PlaceReport {
  readonly place: string;
  /** Files, processes, devices or memory ranges that were searched. */
  readonly items: number;
  readonly bytes: number;
  /** How many bytes there are, searched or not. */
  readonly of: number;
  readonly hits: readonly Hit[];
  /** What was left out, and why. */
  readonly skipped: readonly string[];
}

/** When a hunt ends. */
export interface HuntLimits {
  /** Most bytes that are read of one place. */
  readonly bytes: number;
  /** When the canary was made, milliseconds since the epoch: files that changed since come first. */
  readonly begunMs: number;
  /** Whether time is up. */
  readonly ends: () => boolean;
  /** Hears from time to time how many bytes of how many are searched. */
  readonly searched?: (bytes: number, of: number) => void;
}

const CHUNK = 1 << 20;
const NO_BYTES = Buffer.alloc(CHUNK);
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const MAX_NOTES = 20;
const TELL_EVERY_BYTES = 16 << 20;
/** File systems that are neither disks nor tmpfs are not walked into (proc, sysfs, network). */
const TMPFS = 0x01021994;

/** Searches one place, bounded in bytes and time, and keeps account of what it did. */
export class Hunt {
  readonly #place: string;
  readonly #needles: MaskedNeedles;
  readonly #limits: HuntLimits;
  // one buffer, zeroed after every piece: what it saw is not left for the search of memory to find
  readonly #buffer: Buffer;
  readonly #hits: Hit[] = [];
  readonly #skipped = new Set<string>();
  readonly #forbidden = new Set<string>();
  #items = 0;
  #bytes = 0;
  #of = 0;
  #toldAt = 0;

  constructor(place: string, needles: MaskedNeedles, limits: HuntLimits) {
    this.#place = place;
    this.#needles = needles;
    this.#limits = limits;
    this.#buffer = Buffer.from(new ArrayBuffer(CHUNK + needles.longest - 1));
  }

  /** Whether time or bytes are used up. */
  get spent(): boolean {
    return this.#bytes >= this.#limits.bytes || this.#limits.ends();
  }

  /** Notes what is left out; the same once, however often it is met. */
  skip(why: string): void {
    this.#skipped.add(why);
  }

  report(): PlaceReport {
    const [first, ...others] = this.#forbidden;
    const and = others.length === 0 ? "" : ` and ${others.length} like it`;
    const notes = [...(first === undefined ? [] : [`${first}${and}: not allowed`]), ...this.#skipped];
    const more = notes.length > MAX_NOTES ? [`and ${notes.length - MAX_NOTES} more`] : [];
    const [place, items, bytes] = [this.#place, this.#items, this.#bytes];
    const of = Math.max(bytes, this.#of);
    return { place, items, bytes, of, hits: this.#hits, skipped: [...notes.slice(0, MAX_NOTES), ...more] };
  }

  /** Searches the first MiB of a small file of /proc, at once. */
  peek(path: string): void {
    let file: number;
    try {
      file = openSync(path, O_RDONLY);
    } catch (thrown) {
      // ENOENT and ESRCH: the process ended meanwhile
      if (codeOf(thrown) === "EACCES") this.#forbidden.add(path);
      return;
    }
    try {
      const piece = this.#buffer.subarray(0, readUpTo(file, this.#buffer, CHUNK, 0));
      this.#items += 1;
      this.#bytes += piece.length;
      this.#look(path, piece, 0);
      piece.fill(0);
    } finally {
      closeSync(file);
    }
  }

  /** Searches an open file from `from` to `to`; what it cannot read ends it quietly (memory that went away). */
  async range(where: string, file: number, from: number, to: number): Promise<void> {
    this.#of += to - from;
    await this.#search(where, file, from, to);
  }

  async #search(where: string, file: number, from: number, to: number): Promise<void> {
    this.#items += 1;
    for (let at = from; at < to; at += CHUNK) {
      if (this.spent) {
        this.skip(`${where} from offset ${at}: ${this.#whyEnded()}`);
        return;
      }
      this.#tell();
      const wanted = Math.min(this.#buffer.length, to - at);
      const got = readUpTo(file, this.#buffer, wanted, at);
      if (got === 0) return;
      this.#bytes += Math.min(got, CHUNK);
      const piece = this.#buffer.subarray(0, got);
      if (got < CHUNK || piece.compare(NO_BYTES, 0, CHUNK, 0, CHUNK) !== 0) this.#look(where, piece, at);
      piece.fill(0);
      if (got < wanted) return;
      await yieldToLoop();
    }
  }

  /** Searches a regular file, whatever its size; never opens pipes, devices or links. */
  async file(path: string): Promise<void> {
    this.#of += statOf(path)?.size ?? 0;
    await this.#open(path);
  }

  async #open(path: string): Promise<void> {
    let file: number;
    try {
      file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch (thrown) {
      // a file that is gone meanwhile is none to search
      if (codeOf(thrown) !== "ENOENT") this.skip(`${path}: ${codeOf(thrown)}`);
      return;
    }
    try {
      const stats = fstatSync(file);
      if (stats.isFile()) await this.#search(path, file, 0, stats.size);
    } finally {
      closeSync(file);
    }
  }

  /**
   * Searches the regular files below directories. What changed since the hunt began comes first, the small before the
   * large, so that a disk image does not keep a fresh leak from being found; then the rest, the youngest first.
   */
  async trees(directories: readonly string[], except: (path: string) => boolean = () => false): Promise<void> {
    const files = directories.flatMap((directory) => this.#filesBelow(directory, except));
    const isFresh = (file: { readonly changedMs: number }) => file.changedMs >= this.#limits.begunMs;
    files.sort((a, b) => {
      if (isFresh(a) !== isFresh(b)) return isFresh(a) ? -1 : 1;
      return isFresh(a) ? a.size - b.size : b.changedMs - a.changedMs;
    });
    for (const { size } of files) this.#of += size;
    for (const [index, { path }] of files.entries()) {
      if (this.spent) {
        this.skip(`${files.length - index} larger or older files: ${this.#whyEnded()}`);
        return;
      }
      await this.#open(path);
    }
  }

  #whyEnded(): string {
    return this.#bytes >= this.#limits.bytes
      ? "as many bytes are searched as may be (--max-mib)"
      : "out of time (--time)";
  }

  #tell(): void {
    if (this.#bytes - this.#toldAt < TELL_EVERY_BYTES) return;
    this.#toldAt = this.#bytes;
    this.#limits.searched?.(this.#bytes, Math.max(this.#bytes, this.#of));
  }

  #filesBelow(top: string, except: (path: string) => boolean) {
    const files: { readonly path: string; readonly changedMs: number; readonly size: number }[] = [];
    const waiting = [{ path: top, device: statOf(top)?.dev }];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { path, device } = next;
      for (const name of this.#namesIn(path)) {
        const below = join(path, name);
        if (except(below)) continue;
        const stats = statOf(below);
        if (stats?.isFile() === true) files.push({ path: below, changedMs: stats.ctimeMs, size: stats.size });
        if (stats?.isDirectory() !== true) continue;
        if (stats.dev === device || isTmpfs(below)) waiting.push({ path: below, device: stats.dev });
        else this.skip(`${below}: another file system`);
      }
    }
    return files;
  }

  #namesIn(directory: string): readonly string[] {
    try {
      return readdirSync(directory);
    } catch (thrown) {
      if (codeOf(thrown) !== "ENOENT") this.skip(`${directory}: ${codeOf(thrown)}`);
      return [];
    }
  }

  #look(where: string, bytes: Uint8Array, at: number): void {
    for (const { form, offset } of this.#needles.find(bytes)) {
      if (!this.#hits.some((hit) => hit.where === where && hit.form === form)) {
        this.#hits.push({ where, form, offset: at + offset });
      }
    }
  }
}

function readUpTo(file: number, buffer: Buffer, length: number, position: number): number {
  let got = 0;
  try {
    while (got < length) {
      const more = readSync(file, buffer, got, length - got, position + got);
      if (more === 0) break;
      got += more;
    }
  } catch {
    // EIO or EFAULT: a hole in the memory of a process
  }
  return got;
}

function statOf(path: string) {
  try {
    return lstatSync(path);
  } catch {
    // gone meanwhile
    return undefined;
  }
}

function isTmpfs(path: string): boolean {
  try {
    return statfsSync(path).type === TMPFS;
  } catch {
    // gone meanwhile
    return false;
  }
}

/** The errno of a failed system call, such as `EACCES`; empty when it is none. */
export function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
}
