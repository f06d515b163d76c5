import type { Json, JsonObject } from "./json.ts";

/**
 * The one text of a JSON value: members sorted by name (UTF-16 order), no white space, undefined members left out, as
 * RFC 8785 has it for the values used here. Two equal values have the same text, so it can be hashed and signed.
 */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item: Json) => canonicalJson(item)).join(",")}]`;
  const object = value as JsonObject;
  let members = "";
  // without a comparison of its own, sort goes by UTF-16
  for (const name of Object.keys(object).sort()) {
    const member = object[name];
    if (member === undefined) continue;
    members += `${members === "" ? "" : ","}${JSON.stringify(name)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}
