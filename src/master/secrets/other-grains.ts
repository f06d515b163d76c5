import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";

function other(value: Json): Json {
  if (typeof value === "string") return "another";
  if (typeof value === "number") return value + 1;
  if (typeof value === "boolean") return !value;
  if (Array.isArray(value)) return [];
  return isJsonObject(value) ? otherGrains(value) : value;
}

/** Grains of the same names with other values: what a pillar gives under both does not hang on what a host says of itself. */
export function otherGrains(grains: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(grains).map(([key, value]) => [key, other(value)]));
}
