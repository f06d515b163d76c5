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
 * How many items a value without cycles has, itself, the keys of its objects and all that is in it; undefined when
 * anything of it is no JSON. Stops at the first fault, and uses no stack however deep it is.
 */
export function jsonItems(value: unknown): number | undefined {
  const left: unknown[] = [value];
  let items = 0;
  while (left.length > 0) {
    const next = left.pop();
    items += 1;
    if (Array.isArray(next)) for (const item of next) left.push(item);
    else if (isPlainObject(next)) {
      for (const key of Object.keys(next)) {
        // whoever copies it by assignment would change the copy's prototype
        if (key === "__proto__") return undefined;
        items += 1;
        left.push(next[key]);
      }
    } else if (!isScalar(next)) return undefined;
  }
  return items;
}

function isScalar(value: unknown): boolean {
  return value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
