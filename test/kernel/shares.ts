import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../../lab/place.ts";

/** Seconds in a guest of the files that take long, as measured; they only balance the guests against each other. */
const SECONDS: Readonly<Record<string, number>> = {
  "volume-stack-removal": 500,
  "kill-matrix-master": 470,
  "kill-matrix-minion": 470,
  grow: 390,
  rotate: 300,
  "volume-stack-trouble": 290,
  "volume-commands": 250,
  "power-cut": 240,
  protect: 210,
  "volume-stack": 200,
  recovery: 195,
  keys: 190,
  identity: 190,
  "half-formatted": 190,
  reencrypt: 180,
  "rotate-resume": 165,
  "slow-slots": 165,
  "volume-life": 155,
  teardown: 135,
  btrfs: 115,
  nested: 85,
  volume: 80,
  inspect: 75,
};
const OTHER_SECONDS = 50;

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
