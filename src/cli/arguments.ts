import { ConfigError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";

const KEYWORD = /^([A-Za-z_][A-Za-z0-9_]*)=(?!=)([\s\S]*)$/u;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/u;

/** Words of a command line as positional and keyword arguments of a function. */
export interface FunctionArguments {
  readonly args: readonly Json[];
  readonly kwargs: JsonObject;
}

/**
 * One word as a value: booleans, null and numbers as YAML 1.2 reads them, JSON lists, objects and strings; everything
 * else is text. A number that would lose digits (a jid) and one with a leading zero (a mode) stay text.
 */
export function parseValue(word: string): Json {
  if (/^(?:true|True|TRUE)$/u.test(word)) return true;
  if (/^(?:false|False|FALSE)$/u.test(word)) return false;
  if (/^(?:null|Null|NULL|~)$/u.test(word)) return null;
  if (NUMBER.test(word)) {
    const number = Number(word);
    const exact = Number.isFinite(number) && (!/^-?\d+$/u.test(word) || String(number) === word);
    return exact ? number : word;
  }
  if (/^[[{"]/u.test(word)) {
    try {
      return JSON.parse(word) as Json;
    } catch {
      // text that only begins like JSON, such as `[ -f /etc/passwd ]`
      return word;
    }
  }
  return word;
}

/** Splits `a b key=value` as Salt does: `key=value` is a keyword argument wherever it stands. */
export function parseArguments(words: readonly string[]): FunctionArguments {
  const args: Json[] = [];
  const kwargs: [string, Json][] = [];
  for (const word of words) {
    const keyword = KEYWORD.exec(word);
    if (keyword) kwargs.push([keyword[1] ?? "", parseValue(keyword[2] ?? "")]);
    else args.push(parseValue(word));
  }
  return { args, kwargs: Object.fromEntries(kwargs) };
}

const MS: Readonly<Record<string, number>> = { ms: 1, "": 1000, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds from `30`, `30s`, `500ms`, `2m`, `1h`; a bare number is seconds. Throws ConfigError `bad-duration`. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/u.exec(text);
  const factor = MS[match?.[2] ?? "none"];
  const ms = Math.round(Number(match?.[1]) * (factor ?? Number.NaN));
  if (!Number.isSafeInteger(ms) || ms <= 0) {
    throw new ConfigError("bad-duration", `cannot read duration "${text}"`, {
      hint: "write seconds, or 500ms, 30s, 2m",
    });
  }
  return ms;
}

/** A whole number from 1 on. Throws ConfigError `bad-number`. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d{1,9}$/u.test(text) || count < 1) throw new ConfigError("bad-number", `cannot read "${text}" as a count`);
  return count;
}
