import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../../lab/place.ts";

/** Seconds in a guest of the files that take long, as measured under seccomp; they only balance the guests against each other. */
const SECONDS: Readonly<Record<string, number>> = {
  "kill-matrix-minion": 170,
  "volume-stack-removal": 165,
  "kill-matrix-master": 150,
  rotate: 125,
  protect: 85,
  reencrypt: 85,
  identity: 75,
  "volume-stack-trouble": 60,
  grow: 55,
  "volume-stack": 50,
  "volume-commands": 45,
  "rotate-resume": 45,
  "power-cut": 35,
  recovery: 35,
  "volume-life": 35,
  teardown: 35,
  escrow: 30,
  "half-formatted": 30,
  keys: 30,
  "slow-slots": 25,
  refusals: 20,
  nested: 20,
  volume: 20,
};
const OTHER_SECONDS = 10;

const secondsOf = (file: string): number => SECONDS[/([^/]+)\.test\.ts$/u.exec(file)?.[1] ?? ""] ?? OTHER_SECONDS;

/** The kernel tests' files, from the project's root. */
export const kernelFiles = (): readonly string[] =>
  readdirSync(join(PROJECT, "test/kernel"))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `test/kernel/${name}`);

/** Parts the files so that each of at most `count` guests has about as much to do: the longest first, each to whom has least. */
export function sharesOf(files: readonly string[], count: number): readonly (readonly string[])[] {
  const shares = Array.from({ length: Math.min(count, files.length) }, () => ({ files: [] as string[], seconds: 0 }));
  for (const file of files.toSorted((a, b) => secondsOf(b) - secondsOf(a))) {
    const least = shares.reduce((best, share) => (share.seconds < best.seconds ? share : best));
    least.files.push(file);
    least.seconds += secondsOf(file);
  }
  return shares.map((share) => share.files);
}
