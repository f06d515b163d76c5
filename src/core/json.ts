/** A JSON value, read-only. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** A JSON object, read-only. */
export interface JsonObject {
  readonly [key: string]: Json;
}

/** True for objects that are neither null nor arrays. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Deepest nesting of what we take or send as JSON: who copies, prints or hashes it goes down level by level, and a message has
 * 64 levels with those around it.
 */
export const MAX_JSON_DEPTH = 60;

/**
 * How many items a value without cycles has, itself, the keys of its objects and all that is in it; undefined when
 * anything of it is no JSON, or deeper than `MAX_JSON_DEPTH`. Stops at the first fault, and uses no stack.
 */
export function jsonItems(value: unknown): number | undefined {
  let level: readonly unknown[] = [value];
  let items = 0;
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_JSON_DEPTH) return undefined;
    const below: unknown[] = [];
    for (const next of level) {
      items += 1;
      if (Array.isArray(next)) for (const item of next) below.push(item);
      else if (isPlainObject(next)) {
        for (const key of Object.keys(next)) {
          // whoever copies it by assignment would change the copy's prototype
          if (key === "__proto__") return undefined;
          items += 1;
          below.push(next[key]);
        }
      } else if (!isScalar(next)) return undefined;
    }
    level = below;
  }
  return items;
}

/** JSON text from outside, such as a command's output; undefined for what is no JSON, nested too deep, or has a key `__proto__`. */
export function readJson(text: string): Json | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return jsonItems(value) === undefined ? undefined : (value as Json);
}

function isScalar(value: unknown): boolean {
  return value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
