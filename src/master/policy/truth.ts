import type { Verdict } from "./facts.ts";

/** What can be told of a condition: `unknown` when the facts that it asks for are not there, or are not what they should be. */
export type Truth = "no" | "unknown" | "yes";

/**
 * The one place that says what a condition comes to that cannot be told. It must not open anything: it counts as matching
 * where the rule denies or holds, and as not matching where it allows.
 */
export function matches(truth: Truth, verdict: Verdict): boolean {
  return truth === "unknown" ? verdict !== "allow" : truth === "yes";
}

/** A comparison over a fact: unknown while the fact is (null, or a number that is none). */
export function told<T extends boolean | number>(fact: T | null, holds: (fact: T) => boolean): Truth {
  if (fact === null || (typeof fact === "number" && !Number.isFinite(fact))) return "unknown";
  return holds(fact) ? "yes" : "no";
}

/** Whether one of them holds: what is unknown only counts when none does. */
export function anyOf(...truths: readonly Truth[]): Truth {
  if (truths.includes("yes")) return "yes";
  return truths.includes("unknown") ? "unknown" : "no";
}
