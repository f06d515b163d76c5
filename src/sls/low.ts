import type { Json, JsonObject } from "../core/json.ts";

/** How a state depends on others; `_in` forms are already turned round, and `_any`/`_all` are kinds of their own. */
export type RequisiteKind =
  | "require"
  | "require_any"
  | "watch"
  | "watch_any"
  | "onchanges"
  | "onchanges_any"
  | "onfail"
  | "onfail_any"
  | "onfail_all"
  | "prereq"
  | "listen";

/** One resolved requisite: the run numbers (indexes into the ordered list) of every state it matched. */
export interface Requisite {
  readonly kind: RequisiteKind;
  /** As written, `mod: ref`, for messages. */
  readonly ref: string;
  /** Indexes into the ordered chunks; empty when nothing matched (the state then fails when it is its turn). */
  readonly targets: readonly number[];
}

/** A guard as written: shell commands, or calls of execution functions. */
export type Guard = string | { readonly fun: string; readonly args: readonly Json[]; readonly kwargs: JsonObject };

/** Retry as written. */
export interface Retry {
  readonly attempts: number;
  readonly intervalMs: number;
  readonly until: boolean;
  readonly splayMs: number;
}

/** One state to run: what is left of the SLS when the language has done its work. */
export interface LowChunk {
  readonly id: string;
  readonly sls: string;
  /** Module and function: `luks` and `opened`. */
  readonly state: string;
  readonly fun: string;
  readonly name: string;
  /** Where it was written; `line` counts from 1 in the file as it is, before it is rendered. */
  readonly file: string;
  readonly line: number;
  /** Parameters for the state's schema, `name` included, without requisites and the global keywords. */
  readonly params: JsonObject;
  readonly requisites: readonly Requisite[];
  readonly unless: readonly Guard[];
  readonly onlyif: readonly Guard[];
  readonly creates: readonly string[];
  readonly checkCmd: readonly Guard[];
  readonly retry: Retry | undefined;
  readonly failhard: boolean;
}

/** Where SLS files come from: the file roots at the master, the file client on a minion, a directory with `--local`. */
export interface SlsSource {
  /** A file by its path below the roots, such as `luks/init.sls`; undefined when there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Where that is, in words, for messages. */
  readonly roots?: string;
  /** Paths of every file there, for "did you mean"; left out where that is not known. */
  readonly paths?: () => Promise<readonly string[]>;
}

/** What templates and top files see. */
export interface RenderContext {
  readonly id: string;
  readonly grains: JsonObject;
  readonly pillar: JsonObject;
}
