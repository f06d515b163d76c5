import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** A row of Salt's own run; see test/conformance/README.md. */
export interface SaltRow {
  readonly id: string;
  readonly fun: string;
  readonly name: string;
  readonly result: boolean | null;
  readonly changed: boolean;
  readonly comment: string;
  readonly ran?: boolean;
}

export interface SaltRun {
  readonly rows: readonly SaltRow[] | null;
  readonly error: readonly string[] | string | null;
  /** Exit status: 0, 1 where nothing was compiled, 2 where a state failed or there was none. */
  readonly retcode: number;
}

export interface SaltCase {
  readonly name: string;
  readonly sls: string;
  readonly files: Readonly<Record<string, string>>;
  readonly salt: { readonly apply: SaltRun; readonly test: SaltRun };
}

const DIRECTORY = resolve(import.meta.dirname, "../../conformance");

function read(name: string): unknown {
  return JSON.parse(readFileSync(join(DIRECTORY, name), "utf8"));
}

/** Every probe and random case. */
export function saltCases(): readonly SaltCase[] {
  const probes = readdirSync(DIRECTORY).filter((name) => name.startsWith("probe_"));
  return [...probes.sort().map((name) => read(name) as SaltCase), ...(read("random.json") as readonly SaltCase[])];
}

/** Salt found a cycle: at compile time, by running out of stack, or in the middle of the run. */
export function isCycle({ rows, error }: SaltRun): boolean {
  const text = JSON.stringify(error);
  return (
    /recursive|RecursionError/iu.test(text) ||
    (rows ?? []).some(({ comment }) => comment.includes("Recursive requisite"))
  );
}
