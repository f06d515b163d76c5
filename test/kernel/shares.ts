import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../../lab/place.ts";

/** Seconds in a guest of the files that take long, as measured; they only balance the guests against each other. */
const SECONDS: Readonly<Record<string, number>> = {
  "kill-matrix-master": 200,
  "kill-matrix-minion": 140,
  "volume-stack-removal": 200,
  rotate: 150,
  grow: 90,
  identity: 70,
  "volume-stack": 70,
  "volume-stack-trouble": 70,
  protect: 70,
  reencrypt: 70,
  "volume-commands": 60,
  "slow-slots": 55,
  recovery: 50,
  "rotate-resume": 50,
};
const OTHER_SECONDS = 35;

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
