import { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import { globMatcher } from "./glob.ts";

/** Who is meant. `compound` is Salt's `G@os:Debian and not web*`. */
export type TargetKind = "glob" | "list" | "grain" | "pillar" | "compound";

/** What is known about the minion that is matched. A target that asks for what is not known matches nothing. */
export interface TargetSubject {
  readonly id: string;
  readonly grains: JsonObject;
  readonly pillar?: JsonObject;
}

type Matcher = (subject: TargetSubject) => boolean;

function bad(expr: string, why: string): ConfigError {
  return new ConfigError("bad-target", `cannot use target "${expr}": ${why}`);
}

function scalarMatches(value: Json, pattern: (text: string) => boolean): boolean {
  if (Array.isArray(value)) return (value as readonly Json[]).some((item) => scalarMatches(item, pattern));
  if (isJsonObject(value)) return Object.keys(value).some(pattern);
  // Salt compares booleans as Python writes them; accept both
  if (typeof value === "boolean") return pattern(String(value)) || pattern(value ? "True" : "False");
  return value !== null && (typeof value === "string" || typeof value === "number") && pattern(`${value}`);
}

/** Whether `path:to:value` (a glob in its last part) holds in the data; a colon may be part of a key or of the value. */
function dataMatches(data: Json, parts: readonly string[]): boolean {
  if (parts.length === 0) return false;
  const rest = parts.join(":");
  if (Array.isArray(data)) {
    return (data as readonly Json[]).some((item) => dataMatches(item, parts)) || scalarMatches(data, globMatcher(rest));
  }
  if (!isJsonObject(data)) return scalarMatches(data, globMatcher(rest));
  if (parts.length === 1) return scalarMatches(data, globMatcher(rest));
  for (let length = 1; length < parts.length; length += 1) {
    const key = parts.slice(0, length).join(":");
    if (Object.hasOwn(data, key) && dataMatches(data[key] ?? null, parts.slice(length))) return true;
  }
  return false;
}

function dataMatcher(expr: string, pick: (subject: TargetSubject) => JsonObject | undefined): Matcher {
  const parts = expr.split(":");
  if (parts.length < 2 || parts[0] === "") throw bad(expr, 'write it as "name:value"');
  if (parts.length > 20) throw bad(expr, "more than 20 parts");
  return (subject) => {
    const data = pick(subject);
    return data !== undefined && dataMatches(data, parts);
  };
}

function simpleMatcher(kind: Exclude<TargetKind, "compound">, expr: string): Matcher {
  if (expr.trim() === "") throw bad(expr, "it is empty");
  switch (kind) {
    case "glob": {
      const matches = globMatcher(expr);
      return ({ id }) => matches(id);
    }
    case "list": {
      const ids = new Set(expr.split(",").map((id) => id.trim()));
      return ({ id }) => ids.has(id);
    }
    case "grain":
      return dataMatcher(expr, ({ grains }) => grains);
    case "pillar":
      return dataMatcher(expr, ({ pillar }) => pillar);
    default:
      throw bad(expr, "no such kind of target");
  }
}

const PREFIXES: Readonly<Record<string, Exclude<TargetKind, "compound">>> = { G: "grain", L: "list", I: "pillar" };

function word(text: string, expr: string): Matcher {
  const prefix = /^([A-Z])@(.*)$/su.exec(text);
  if (!prefix) return simpleMatcher("glob", text);
  const kind = PREFIXES[prefix[1] ?? ""];
  if (!kind) throw bad(expr, `no matcher "${prefix[1]}@", use G@ (grain), L@ (list) or I@ (pillar)`);
  return simpleMatcher(kind, prefix[2] ?? "");
}

/** A word, and each of the parentheses before and behind it. A pattern for this takes the square of their number. */
function withoutParentheses(piece: string): readonly string[] {
  let from = 0;
  while (piece[from] === "(") from += 1;
  let to = piece.length;
  while (to > from && piece[to - 1] === ")") to -= 1;
  return [...piece.slice(0, from).split(""), piece.slice(from, to), ...piece.slice(to).split("")];
}

/** `or` binds weaker than `and`, `not` strongest, parentheses group. */
function compound(expr: string): Matcher {
  const words = expr
    .split(/\s+/u)
    .flatMap(withoutParentheses)
    .filter((piece) => piece !== "");
  if (words.length > 1000) throw bad(expr, "too long");
  let at = 0;
  const some =
    (parts: readonly Matcher[]): Matcher =>
    (subject) =>
      parts.some((part) => part(subject));
  const every =
    (parts: readonly Matcher[]): Matcher =>
    (subject) =>
      parts.every((part) => part(subject));
  const factor = (): Matcher => {
    const piece = words[at];
    at += 1;
    if (piece === undefined) throw bad(expr, "it ends too early");
    if (piece === "not") {
      const inner = factor();
      return (subject) => !inner(subject);
    }
    if (piece === "(") {
      const inner = sum();
      if (words[at] !== ")") throw bad(expr, "a parenthesis is not closed");
      at += 1;
      return inner;
    }
    if (piece === ")" || piece === "and" || piece === "or") throw bad(expr, `unexpected "${piece}"`);
    return word(piece, expr);
  };
  const product = (): Matcher => {
    const parts = [factor()];
    while (words[at] === "and") {
      at += 1;
      parts.push(factor());
    }
    return every(parts);
  };
  const sum = (): Matcher => {
    const parts = [product()];
    while (words[at] === "or") {
      at += 1;
      parts.push(product());
    }
    return some(parts);
  };
  const whole = sum();
  if (at < words.length) throw bad(expr, `unexpected "${words[at]}"`);
  return whole;
}

/**
 * A matcher for a target expression. Fails closed: what is malformed or empty throws ConfigError `bad-target`, and data
 * that is not there matches nothing. Source: Salt's matcher syntax.
 */
export function targetMatcher(kind: TargetKind, expr: string): (subject: TargetSubject) => boolean {
  return kind === "compound" ? compound(expr) : simpleMatcher(kind, expr);
}
