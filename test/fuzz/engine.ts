import { getHeapStatistics } from "node:v8";
import type { Coverage } from "./coverage.ts";
import { mutate } from "./mutate.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";

/** What a decoder did that it must not do. */
export interface Fault {
  /** The same for all inputs that show the same fault. */
  readonly key: string;
  readonly what: string;
}

/** What one run of the decoder came to. */
interface Outcome {
  readonly fault: Fault | undefined;
  /** Counters that were hit, in classes of how often. */
  readonly features: readonly number[];
}

export interface EngineOptions {
  readonly target: Target;
  readonly coverage: Coverage;
  readonly seed: number;
  /** Called before each run, so that another thread knows the input should this one not come back. */
  readonly begins: (bytes: Buffer) => void;
  readonly found: (fault: Fault, bytes: Buffer) => void;
  readonly kept: (bytes: Buffer) => void;
}

const MAX_BYTES = 4096;
const CLASSES = 8;
/** Work (branches taken) and memory that an input may cost: a base, and so much for each of its bytes. */
const BASE_WORK = 200_000;
const WORK_OF_BYTE = 5000;
const BASE_MEMORY = 48 * 1024 * 1024;
const MEMORY_OF_BYTE = 16 * 1024;
const MAX_TRIMS = 60;

/** 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more: how often is told apart only so far. */
function classOf(count: number): number {
  if (count <= 3) return count - 1;
  if (count < 8) return 3;
  if (count < 16) return 4;
  if (count < 32) return 5;
  return count < 128 ? 6 : 7;
}

/** Searches for inputs that take a decoder where no input before took it. One thread, one target. */
export class Engine {
  readonly corpus: Buffer[] = [];
  executions = 0;
  readonly #options: EngineOptions;
  readonly #random: Random;
  readonly #dictionary: readonly Buffer[];
  readonly #maxBytes: number;
  readonly #seen: Uint8Array;
  readonly #faults = new Set<string>();

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#seen = new Uint8Array(options.coverage.hits.length * CLASSES);
    const { covers, dictionary = [], maxBytes = MAX_BYTES } = options.target;
    this.#maxBytes = maxBytes;
    const written = options.coverage.modules.filter(({ file }) => covers.includes(file)).flatMap(({ texts }) => texts);
    this.#dictionary = [...new Set([...dictionary, ...written])].map((text) => Buffer.from(text, "latin1"));
  }

  /** Counters hit so far, of the target's own files and of all. */
  covered(): { readonly own: number; readonly ownOf: number; readonly all: number } {
    const { modules } = this.#options.coverage;
    const hitOf = ({ first, points }: { readonly first: number; readonly points: number }) => {
      let hit = 0;
      for (let at = first; at < first + points; at += 1) {
        if (this.#seen.subarray(at * CLASSES, (at + 1) * CLASSES).some((flag) => flag > 0)) hit += 1;
      }
      return hit;
    };
    const own = modules.filter(({ file }) => this.#options.target.covers.includes(file));
    return {
      own: own.reduce((sum, module) => sum + hitOf(module), 0),
      ownOf: own.reduce((sum, { points }) => sum + points, 0),
      all: modules.reduce((sum, module) => sum + hitOf(module), 0),
    };
  }

  /** Runs one input as it is, and keeps it when it shows something new. */
  async feed(bytes: Buffer): Promise<void> {
    const outcome = await this.#run(bytes);
    if (outcome.fault) return this.#report(outcome.fault, bytes);
    const fresh = this.#fresh(outcome.features);
    if (fresh.length > 0) this.#keep(await this.#trim(bytes, fresh));
  }

  /** One changed input. */
  async step(): Promise<void> {
    const { corpus } = this;
    // the newest ones more often: what lies behind them is not known yet
    const recent = this.#random.below(3) === 0 ? corpus.slice(-12) : corpus;
    const base = recent.length === 0 ? Buffer.alloc(0) : this.#random.pick(recent);
    const other = () => (corpus.length === 0 ? Buffer.alloc(0) : this.#random.pick(corpus));
    const context = { maxBytes: this.#maxBytes, dictionary: this.#dictionary, other };
    await this.feed(mutate(base, this.#random, context));
  }

  /** The fewest inputs found that go everywhere the corpus goes, the short ones first. */
  async minimised(): Promise<readonly Buffer[]> {
    const reached = new Set<number>();
    const kept: Buffer[] = [];
    for (const bytes of this.corpus.toSorted((a, b) => a.length - b.length)) {
      const points = (await this.#run(bytes)).features.map((feature) => Math.floor(feature / CLASSES));
      if (points.every((point) => reached.has(point))) continue;
      for (const point of points) reached.add(point);
      kept.push(bytes);
    }
    return kept;
  }

  #keep(bytes: Buffer): void {
    this.corpus.push(bytes);
    this.#options.kept(bytes);
  }

  #fresh(features: readonly number[]): readonly number[] {
    const fresh = features.filter((feature) => this.#seen[feature] === 0);
    for (const feature of fresh) this.#seen[feature] = 1;
    return fresh;
  }

  /** Cuts away what is not needed for `wanted`. */
  async #trim(bytes: Buffer, wanted: readonly number[]): Promise<Buffer> {
    return this.#shorten(bytes, ({ fault, features }) => {
      const has = new Set(features);
      return fault === undefined && wanted.every((feature) => has.has(feature));
    });
  }

  async #shorten(bytes: Buffer, isGood: (outcome: Outcome) => boolean): Promise<Buffer> {
    let best = bytes;
    let tries = 0;
    for (let span = best.length >> 1; span > 0 && tries < MAX_TRIMS; span >>= 1) {
      for (let at = 0; at < best.length && tries < MAX_TRIMS; tries += 1) {
        const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + span)]);
        if (isGood(await this.#run(shorter))) best = shorter;
        else at += span;
      }
    }
    return best;
  }

  async #report(fault: Fault, bytes: Buffer): Promise<void> {
    if (this.#faults.has(fault.key)) return;
    this.#faults.add(fault.key);
    this.#options.found(fault, await this.#shorten(bytes, (outcome) => outcome.fault?.key === fault.key));
  }

  async #run(bytes: Buffer): Promise<Outcome> {
    const { coverage, target, begins } = this.#options;
    const { hits } = coverage;
    const size = coverage.size();
    this.executions += 1;
    begins(bytes);
    // a copy: a decoder that writes to its input must not change the corpus
    const input = Buffer.from(bytes);
    const before = heldBytes();
    hits.fill(0, 0, size);
    let fault: Fault | undefined;
    try {
      const result = target.decode(input);
      if (result instanceof Promise) await result;
    } catch (thrown) {
      fault = faultOf(thrown, target);
    }
    const features: number[] = [];
    let work = 0;
    for (let point = 0; point < size; point += 1) {
      const count = hits[point] ?? 0;
      if (count === 0) continue;
      work += count;
      features.push(point * CLASSES + classOf(count));
    }
    const memory = heldBytes() - before;
    fault ??= excessOf(bytes.length, work, memory) ?? pollution();
    return { fault, features };
  }
}

function heldBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

function excessOf(length: number, work: number, memory: number): Fault | undefined {
  if (work > BASE_WORK + WORK_OF_BYTE * length) return { key: "work", what: `${work} branches for ${length} bytes` };
  if (memory > BASE_MEMORY + MEMORY_OF_BYTE * length) {
    return { key: "memory", what: `${Math.round(memory / 1024 / 1024)} MiB for ${length} bytes` };
  }
  return undefined;
}

function pollution(): Fault | undefined {
  for (const prototype of [Object.prototype, Array.prototype] as const) {
    const [key] = Object.keys(prototype);
    if (key === undefined) continue;
    Reflect.deleteProperty(prototype, key);
    return { key: "prototype", what: `all objects have a property "${key}"` };
  }
  return undefined;
}

/** A fault of what was thrown, undefined for an honest refusal. */
function faultOf(thrown: unknown, { refusals }: Target): Fault | undefined {
  if (refusals.some((refusal) => thrown instanceof refusal)) return undefined;
  if (!(thrown instanceof Error)) return { key: "thrown", what: `threw what is no error: ${typeof thrown}` };
  const frames = thrown.stack?.split("\n").filter((line) => /^\s+at /u.test(line)) ?? [];
  const place = frames.find((line) => /\/src\//u.test(line))?.replace(/^.*\/src\//u, "src/") ?? "";
  const kind = thrown.name === "Broken" ? `broken promise: ${thrown.message}` : `threw ${thrown.name}`;
  const key = `${kind} ${thrown.name === "Broken" ? "" : place.replace(/:\d+\)?$/u, "")}`;
  return { key, what: `${kind}\n${thrown.stack ?? thrown.message}` };
}
