import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";

/** What one claim of a host may be for rules, and all of them together; what is more is unknown. */
export const CLAIM_LIMITS = { characters: 1024, items: 256, depth: 6, claims: 256, allItems: 4096 } as const;

/** A host's claims as expressions see them. */
export interface Claims {
  readonly grains: JsonObject;
  /** Names of claims that are more than rules look at: whatever asks for one of them cannot be evaluated. */
  readonly tooLarge: readonly string[];
}

/** How many values a claim has, itself among them; undefined when it is more than a claim may be. */
function itemsOf(claim: Json): number | undefined {
  const left: (readonly [value: Json, depth: number])[] = [[claim, 1]];
  let items = 0;
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [value, depth] = next;
    items += 1;
    if (items + left.length > CLAIM_LIMITS.items || depth > CLAIM_LIMITS.depth) return undefined;
    if (typeof value === "string" && value.length > CLAIM_LIMITS.characters) return undefined;
    if (Array.isArray(value)) {
      if (value.length > CLAIM_LIMITS.items) return undefined;
      for (const item of value as readonly Json[]) left.push([item, depth + 1]);
    } else if (isJsonObject(value)) {
      const entries = Object.entries(value);
      if (entries.some(([key]) => key.length > CLAIM_LIMITS.characters)) return undefined;
      for (const [, item] of entries) left.push([item, depth + 1]);
    }
  }
  return items;
}

/** The claims that rules look at, and the names of those that are more than they may be; null when that is all of them. */
export function claimsForRules(grains: JsonObject): Claims | null {
  const found = measured.get(grains);
  if (found !== undefined) return found;
  const claims = measure(grains);
  measured.set(grains, claims);
  return claims;
}

// a host's claims change with its sessions, and are asked for with each of its leases
const measured = new WeakMap<JsonObject, Claims | null>();
/** Of every host that claims nothing: one that was never here has each time another empty map. */
const NO_CLAIMS: Claims = { grains: {}, tooLarge: [] };

function measure(grains: JsonObject): Claims | null {
  const entries = Object.entries(grains);
  if (entries.length === 0) return NO_CLAIMS;
  if (entries.length > CLAIM_LIMITS.claims || entries.some(([name]) => name.length > CLAIM_LIMITS.characters)) {
    return null;
  }
  const kept: [string, Json][] = [];
  const tooLarge: string[] = [];
  let all = 0;
  for (const [name, claim] of entries) {
    const items = itemsOf(claim);
    if (items === undefined) tooLarge.push(name);
    else kept.push([name, claim]);
    all += items ?? 0;
  }
  return all > CLAIM_LIMITS.allItems ? null : { grains: Object.fromEntries(kept), tooLarge };
}
