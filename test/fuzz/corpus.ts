import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const FOLDER = resolve(import.meta.dirname, "corpus");
const fileOf = (target: string) => resolve(FOLDER, `${target}.txt`);

/** The inputs kept in the tree for a target, none when there are none: a line each, in base64, the short ones first. */
export function readCorpus(target: string): readonly Uint8Array[] {
  const file = fileOf(target);
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "latin1").split("\n").slice(0, -1);
  return lines.map((line) => Buffer.from(line, "base64"));
}

/** Replaces them. */
export function writeCorpus(target: string, inputs: readonly Uint8Array[]): void {
  const lines = [...new Set(inputs.map((bytes) => Buffer.from(bytes).toString("base64")))];
  lines.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  writeFileSync(fileOf(target), lines.map((line) => `${line}\n`).join(""));
}
