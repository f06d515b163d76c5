import { isJsonObject, type Json } from "../../core/json.ts";

/** The value at `a:b:0` in nested data, as Salt's `pillar.get` finds it; undefined when there is none. */
export function lookUp(data: Json, key: string): Json | undefined {
  let at: Json | undefined = data;
  for (const part of key.split(":")) {
    if (Array.isArray(at)) at = /^\d+$/u.test(part) ? (at as readonly Json[])[Number(part)] : undefined;
    else at = isJsonObject(at) && Object.hasOwn(at, part) ? at[part] : undefined;
    if (at === undefined) return undefined;
  }
  return at;
}
