import type { JobRequest } from "../../core/control-api.ts";
import { MINION_ID } from "../../core/ids.ts";

/** Why a host that is named in a target is not asked. */
export const NOT_ACCEPTED = "no accepted minion of that id";

/**
 * The ids that a target names one by one, in a list or as a glob without a wildcard, and that are not accepted: whoever
 * names a host expects it to be there, so each is told of. Sorted, each once; [] for patterns and grains.
 */
export function unknownIds({ kind, expr }: JobRequest["target"], acceptedIds: readonly string[]): readonly string[] {
  const words = kind === "list" ? expr.split(",") : kind === "glob" && MINION_ID.test(expr) ? [expr] : [];
  const accepted = new Set(acceptedIds);
  const named = words.map((word) => word.trim()).filter((word) => word !== "" && !accepted.has(word));
  return [...new Set(named)].sort();
}
