import { RE2JS } from "re2js";

/** Longer patterns are refused: an expression itself has no more than 2000 characters, so only a host's claim can be one. */
const MAX_PATTERN = 1000;
const MAX_COMPILED = 200;
const compiled = new Map<string, RE2JS>();

/** Compiles a pattern in RE2's syntax, which is CEL's. Throws Error that says what is wrong with it. */
export function compileLinear(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known) return known;
  if (pattern.length > MAX_PATTERN) throw new Error(`a pattern has more than ${MAX_PATTERN} characters`);
  const made = RE2JS.compile(pattern);
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(pattern, made);
  return made;
}

/** Whether a pattern is found somewhere in a text, in time that grows with the length of the text and no faster. */
export function matchesLinear(text: string, pattern: string): boolean {
  return compileLinear(pattern).matcher(text).find();
}
