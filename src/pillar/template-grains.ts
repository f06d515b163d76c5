import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";

/** Text that is one plain YAML scalar wherever a template puts it, also inside `[...]` and `{...}`. */
const HARMLESS = /^(?:[\p{L}\p{N}](?:[\p{L}\p{N} ._:/@+=()-]*[\p{L}\p{N}._/@+=()-])?)?$/u;

function harmless(text: string): boolean {
  return HARMLESS.test(text) && !text.includes(": ");
}

function clean(value: Json): Json | undefined {
  if (typeof value === "string") return harmless(value) ? value : undefined;
  if (Array.isArray(value)) return (value as readonly Json[]).map(clean).filter((item) => item !== undefined);
  return isJsonObject(value) ? templateGrains(value) : value;
}

/**
 * The grains that pillar templates and targets may see. Grains are the host's own claims: one with a line break or with
 * YAML's punctuation in it could write an `include` into its pillar and so be handed another host's secrets. Such values
 * are left out, and a template that needs one fails.
 */
export function templateGrains(grains: JsonObject): JsonObject {
  const kept = Object.entries(grains).flatMap(([key, value]) => {
    const cleaned = harmless(key) ? clean(value) : undefined;
    return cleaned === undefined ? [] : [[key, cleaned] as const];
  });
  return Object.fromEntries(kept);
}
