import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import { secretNodeOf } from "./secret-node.ts";

function isMap(value: Json | undefined): value is JsonObject {
  return isJsonObject(value) && secretNodeOf(value) === undefined;
}

/**
 * Two pillars into one as Salt does by default (`pillar_source_merging_strategy: smart`, `pillar_merge_lists: False`): maps
 * are merged key by key, for everything else, lists too, the later one wins. Neither is changed.
 */
export function mergePillar(earlier: JsonObject, later: JsonObject): JsonObject {
  const merged = new Map(Object.entries(earlier));
  for (const [key, value] of Object.entries(later)) {
    const before = merged.get(key);
    merged.set(key, isMap(before) && isMap(value) ? mergePillar(before, value) : value);
  }
  return Object.fromEntries(merged);
}
