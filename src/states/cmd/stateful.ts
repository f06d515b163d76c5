import { isJsonObject, type Json, readJson } from "../../core/json.ts";

/** What a stateful command says about itself in its last line of output. */
export interface Stated {
  readonly changed: boolean;
  readonly comment: string;
  readonly data: Readonly<Record<string, Json>>;
}

/** `key=value key='a b'` as a shell would split it; undefined when a piece has no `=`. */
function keyValues(line: string): Readonly<Record<string, string>> | undefined {
  const pieces = line.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/gu) ?? [];
  const pairs = pieces.map((piece) => piece.replaceAll(/'([^']*)'|"([^"]*)"/gu, (_all, a, b) => String(a ?? b ?? "")));
  if (pairs.length === 0 || pairs.some((pair) => !pair.includes("="))) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
}

function parseLine(line: string): Readonly<Record<string, Json>> | undefined {
  const value = readJson(line);
  if (value === undefined) return keyValues(line);
  return isJsonObject(value) ? value : undefined;
}

/**
 * Reads the last line of a stateful command's output, JSON or `changed=yes comment='…' more=x`. Undefined when it says
 * nothing about `changed`. Source: Salt's cmd state, "Using the stateful argument".
 */
export function readStateful(stdout: string): Stated | undefined {
  const data = parseLine(stdout.trimEnd().split("\n").at(-1)?.trim() ?? "");
  if (!data || data["changed"] === undefined) return undefined;
  const { changed, comment, ...rest } = data;
  return {
    changed: changed === true || /^(?:yes|true)$/iu.test(typeof changed === "string" ? changed : ""),
    comment: typeof comment === "string" ? comment : "",
    data: rest,
  };
}
