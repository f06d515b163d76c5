import type { RequisiteKind } from "./low.ts";

/** Requisites that a state may name, in the order in which Salt looks at them. */
export const REQUISITES: readonly RequisiteKind[] = [
  "require",
  "require_any",
  "watch",
  "watch_any",
  "prereq",
  "onfail",
  "onfail_any",
  "onfail_all",
  "onchanges",
  "onchanges_any",
  "listen",
];

/** `_in` forms: what the named states get. */
export const REQUISITES_IN: Readonly<Record<string, RequisiteKind>> = {
  require_in: "require",
  watch_in: "watch",
  prereq_in: "prereq",
  onfail_in: "onfail",
  onchanges_in: "onchanges",
  listen_in: "listen",
};

const REQUISITE_WORDS = new Set<string>([...REQUISITES, ...Object.keys(REQUISITES_IN), "use", "use_in"]);

/** Keywords of the language itself: never parameters of a state. */
const GLOBALS = new Set([
  "aggregate",
  "check_cmd",
  "creates",
  "failhard",
  "fire_event",
  "names",
  "onlyif",
  "order",
  "parallel",
  "reload_grains",
  "reload_modules",
  "reload_pillar",
  "retry",
  "saltenv",
  "unless",
]);

/** True for `require`, `watch_in`, `use` and the like. */
export function isRequisiteWord(key: string): boolean {
  return REQUISITE_WORDS.has(key);
}

/** True for what `use` never copies: requisites, and what says which states a declaration makes. Guards and retry it does. */
export function isOwnWord(key: string): boolean {
  return REQUISITE_WORDS.has(key) || key === "name" || key === "names" || key === "order";
}

/** True for what a state's schema never sees. */
export function isKeyword(key: string): boolean {
  return REQUISITE_WORDS.has(key) || GLOBALS.has(key);
}

/** Every keyword, for "did you mean". */
export const KEYWORDS: readonly string[] = [...REQUISITE_WORDS, ...GLOBALS];
