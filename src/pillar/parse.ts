import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import { configErrorAt } from "../sls/located-error.ts";
import { parseYamlDocument } from "../sls/yaml.ts";
import { PILLAR_TAGS } from "./secret-node.ts";

/** A pillar file, parsed: secrets in `data` are placeholders (see `secretNodeOf`). */
export interface PillarFile {
  readonly data: JsonObject;
  /** Names of other pillar SLS files, as written; never in `data`. */
  readonly include: readonly string[];
  readonly includeLine: number;
}

/** Parses a pillar file. Throws ConfigError with file and line, without the offending text, which may be a secret. */
export function parsePillarFile(text: string, file: string): PillarFile {
  const document = parseYamlDocument(text, file, { tags: PILLAR_TAGS, secretive: true });
  const whole = document.value ?? {};
  if (!isJsonObject(whole))
    throw configErrorAt("bad-pillar", "cannot use pillar: it is not a map", { file, line: 1 }, "");
  const { include = [], ...data } = whole;
  const includeLine = document.lineOf(whole, "include");
  const names: readonly Json[] = Array.isArray(include) ? include : [include];
  if (!names.every((name) => typeof name === "string")) {
    throw configErrorAt(
      "bad-pillar",
      "cannot use include: it takes a list of SLS names",
      { file, line: includeLine },
      "",
    );
  }
  return { data, include: names, includeLine };
}

/** Reads a pillar file's text; see `parsePillarFile`. */
export type PillarParser = (text: string, file: string) => PillarFile;

/**
 * A parser that remembers the last `limit` files by their whole text: hosts share most of them, and parsing is most of a
 * compile.
 */
export function rememberingParser(limit: number): PillarParser {
  const known = new Map<string, PillarFile>();
  return (text, file) => {
    const key = `${file}\n${text}`;
    const parsed = known.get(key) ?? parsePillarFile(text, file);
    known.delete(key);
    known.set(key, parsed);
    const oldest = known.keys().next().value;
    if (known.size > limit && oldest !== undefined) known.delete(oldest);
    return parsed;
  };
}
