import type { Command } from "commander";
import { type OutputFormat, parseOutput } from "./output.ts";

/** How a command's answer is to be printed. */
export interface OutOption {
  readonly out: string;
  readonly json?: true;
}

/** The format that was asked for. Throws ConfigError `bad-output`. */
export const formatOf = (options: OutOption): OutputFormat => parseOutput(options.json ? "json" : options.out);

/** Adds `--out` and `--json`. */
export const withOut = (command: Command): Command =>
  command.option("--out <format>", "text, json, jsonl or yaml", "text").option("--json", "the same as --out json");
