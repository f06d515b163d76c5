import { ConfigError } from "../core/errors.ts";

/** A place in a text file; lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column?: number;
}

/** Longest piece of a file that an error quotes. */
const QUOTE_CHARACTERS = 120;

/** The line of a text as an error quotes it: trimmed, cut, "" when there is no such line. */
export function quoteLine(text: string, line: number): string {
  const trimmed = (text.split("\n", line)[line - 1] ?? "").trim();
  return trimmed.length > QUOTE_CHARACTERS ? `${trimmed.slice(0, QUOTE_CHARACTERS)}…` : trimmed;
}

/** The last line with anything on it at or before `line`: what an error at the end of a file is about. */
export function lastWrittenLine(text: string, line: number): number {
  const lines = text.split("\n", line);
  const last = lines.findLastIndex((candidate) => candidate.trim() !== "");
  return last < 0 ? line : last + 1;
}

/**
 * A ConfigError that says where: `<what>: <why> (<file> line <n>): "<offending text>"`. `facts` carry `file`, `line`,
 * `column` and `text`. Pass "" as `offending` where the text must not be repeated (it may hold a secret).
 */
export function configErrorAt(
  code: string,
  message: string,
  place: Place,
  offending: string,
  extra: { readonly hint?: string; readonly cause?: unknown } = {},
): ConfigError {
  const quoted = offending === "" ? "" : `: "${offending}"`;
  const column = place.column === undefined ? {} : { column: place.column };
  return new ConfigError(code, `${message} (${place.file} line ${place.line})${quoted}`, {
    ...extra,
    facts: { file: place.file, line: place.line, ...column, ...(offending === "" ? {} : { text: offending }) },
  });
}
