import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { ConfigError, HostError } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { type CompiledPillar, compilePillar, type PillarFiles } from "./compile.ts";
import { type PillarParser, rememberingParser } from "./parse.ts";

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_PARSED = 256;
const MAX_COMPILED = 10_000;

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

/** A regular file below `root`, links inside the root followed. Throws ConfigError for what leads outside or is no file. */
function readBelow(root: string, path: string): Buffer | undefined {
  const file = join(root, path);
  const assertInside = (place: string, real: string) => {
    if (!relative(place, real).startsWith("..")) return;
    throw new ConfigError("bad-pillar-file", `cannot read pillar file "${file}": it leads outside of "${root}"`);
  };
  let descriptor: number;
  let opened: () => void;
  try {
    const place = realpathSync(root);
    assertInside(place, realpathSync(file));
    // O_NONBLOCK: opening a FIFO must not wait for its writer
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    opened = () => assertInside(place, readlinkSync(`/proc/self/fd/${descriptor}`));
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (error instanceof ConfigError) throw error;
    throw new HostError("pillar-unreadable", `cannot read pillar file "${file}"`, { cause: error });
  }
  try {
    // a link on the way may be another since: the kernel says what was opened
    opened();
    const stat = fstatSync(descriptor);
    if (stat.isFile() && stat.size <= MAX_FILE_BYTES) return readFileSync(descriptor);
    throw new ConfigError("bad-pillar-file", `cannot read pillar file "${file}": not a regular file of at most 4 MiB`);
  } finally {
    closeSync(descriptor);
  }
}

/** What tells one content of a file from the next without reading it; "" when there is no such file. */
function stampOf(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}` : "";
}

/** Stamps that were looked up in this turn of the event loop: hosts that ask at the same time share most of their files. */
class StampsOfTurn {
  readonly #stamps = new Map<string, string>();

  of(file: string): string {
    const known = this.#stamps.get(file);
    if (known !== undefined) return known;
    if (this.#stamps.size === 0) setImmediate(() => this.#stamps.clear());
    const stamp = stampOf(file);
    this.#stamps.set(file, stamp);
    return stamp;
  }
}

/** Files below pillar roots, the first root that has a file wins; a host's own file comes from the first root alone. */
export function pillarFilesBelow(roots: readonly string[]): PillarFiles {
  const read = (from: readonly string[], path: string) => {
    for (const root of from) {
      const bytes = readBelow(root, path);
      if (bytes) return Promise.resolve(bytes);
    }
    return Promise.resolve(undefined);
  };
  return { read: async (path) => read(roots, path), readHost: async (path) => read(roots.slice(0, 1), path) };
}

interface Remembered {
  readonly compiled: CompiledPillar;
  readonly grains: JsonObject;
  /** Every place that was looked at, missing ones too, and its stamp from before it was read. */
  readonly stamps: ReadonlyMap<string, string>;
}

/**
 * The pillar roots on disk, with what was compiled from them. A compiled pillar is used again while every file it came
 * from, and every place where a file was missing, is unchanged (device, inode, size, modification and change time): a few
 * `stat` calls in place of a compile.
 */
export class PillarTree {
  readonly roots: readonly string[];
  readonly #parse: PillarParser = rememberingParser(MAX_PARSED);
  readonly #remembered = new Map<string, Remembered>();
  readonly #stamps = new StampsOfTurn();

  /** `roots` are directories, the one that holds `hosts/` first. */
  constructor(roots: readonly string[]) {
    this.roots = roots;
  }

  /** One host's compiled pillar; see `compilePillar`. */
  async compile(id: string, grains: JsonObject): Promise<CompiledPillar> {
    const known = this.#remembered.get(id);
    if (known && this.#fresh(known, grains)) return known.compiled;
    const stamps = new Map<string, string>();
    const files = this.#noting(pillarFilesBelow(this.roots), stamps);
    const compiled = await compilePillar(files, id, grains, this.#parse);
    this.#remembered.delete(id);
    this.#remembered.set(id, { compiled, grains, stamps });
    const oldest = this.#remembered.keys().next().value;
    if (this.#remembered.size > MAX_COMPILED && oldest !== undefined) this.#remembered.delete(oldest);
    return compiled;
  }

  /** The pillar as it would be with another text for the host's own file; nothing is remembered. */
  async compileWith(id: string, grains: JsonObject, hostFile: string): Promise<CompiledPillar> {
    const files = pillarFilesBelow(this.roots);
    return compilePillar({ ...files, readHost: async () => Buffer.from(hostFile) }, id, grains, this.#parse);
  }

  #fresh(known: Remembered, grains: JsonObject): boolean {
    const same = known.grains === grains || JSON.stringify(known.grains) === JSON.stringify(grains);
    return same && [...known.stamps].every(([file, stamp]) => this.#stamps.of(file) === stamp);
  }

  #noting(files: PillarFiles, stamps: Map<string, string>): PillarFiles {
    const note = (roots: readonly string[], path: string) => {
      for (const file of roots.map((root) => join(root, path))) {
        if (!stamps.has(file)) stamps.set(file, stampOf(file));
      }
    };
    return {
      read: async (path) => {
        note(this.roots, path);
        return files.read(path);
      },
      readHost: async (path) => {
        note(this.roots.slice(0, 1), path);
        return files.readHost(path);
      },
    };
  }
}
