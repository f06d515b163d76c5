import { resolve } from "node:path";

type ErrorClass = abstract new (...args: never) => Error;

/** One decoder, and what must hold of it whatever the bytes are. */
export interface Target {
  /** The files whose branches its coverage is measured by, from the project's root. */
  readonly covers: readonly string[];
  /** Longest input; 4096 when left out. */
  readonly maxBytes?: number;
  /** What a refusal is thrown as; anything else that is thrown is a finding. */
  readonly refusals: readonly ErrorClass[];
  /** Words of the format, besides the texts that stand in its files. */
  readonly dictionary?: readonly string[];
  readonly seeds: () => readonly (string | Uint8Array)[];
  /** Decodes, and throws Broken when what comes of it is not as promised. */
  readonly decode: (bytes: Buffer) => unknown;
}

/** A promise that a decoder does not keep. */
export class Broken extends Error {
  static {
    this.prototype.name = "Broken";
  }
}

/** Throws Broken unless the promise holds. */
export function promise(what: string, holds: boolean): asserts holds {
  if (!holds) throw new Broken(what);
}

/** Throws Broken when any map or list in it has another prototype than all have. Uses no stack. */
export function promisePlain(value: unknown): void {
  const left = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next !== "object" || next === null || ArrayBuffer.isView(next)) continue;
    const prototype: unknown = Object.getPrototypeOf(next);
    promise("its maps are like all others", [Object.prototype, Array.prototype, null].includes(prototype as null));
    for (const member of Object.values(next)) left.push(member);
  }
}

/** The targets there are, each one file of `targets/`. */
export const TARGETS = [
  "frames",
  "msgpack",
  "packets",
  "zmtp",
  "noise",
  "luks",
  "luks-layout",
  "crypt-table",
  "lvm",
  "superblocks",
  "age",
  "keys",
  "yaml",
  "templates",
  "policy",
  "audit",
] as const;

/** Where a target's module lies. */
export const targetFile = (name: string): string => resolve(import.meta.dirname, "targets", `${name}.ts`);
