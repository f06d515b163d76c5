import type { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import type { Argument, Declaration } from "./high.ts";
import { isRequisiteWord } from "./keywords.ts";
import { configErrorAt } from "./located-error.ts";

/** A state to run, its name known, its arguments still as written. */
export interface Draft {
  readonly id: string;
  readonly sls: string;
  readonly file: string;
  readonly line: number;
  readonly state: string;
  readonly fun: string;
  readonly name: string;
  /** Everything but `name`, `names` and `order`; requisites of one kind in one list. */
  readonly args: ReadonlyMap<string, Argument>;
  readonly order: Json;
  /** Position among the names of one declaration, from 1; 0 without `names`. */
  readonly nameOrder: number;
}

/** The number that states without an `order` count from, as Salt does: an explicit order up to it goes before them. */
const AUTOMATIC_ORDER = 10_000;

function collect(args: readonly Argument[]): Map<string, Argument> {
  const collected = new Map<string, Argument>();
  for (const argument of args) {
    const old = collected.get(argument.key);
    const grows = isRequisiteWord(argument.key) && Array.isArray(old?.value) && Array.isArray(argument.value);
    collected.set(argument.key, grows ? { ...argument, value: [old.value, argument.value].flat() } : argument);
  }
  return collected;
}

interface Named {
  readonly name: string;
  readonly extra: readonly Argument[];
}

function textOf(value: Json | undefined): string | undefined {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;
}

/** One entry of `names`: a name, or a name with arguments of its own. */
function readName(entry: Json, line: number): Named | undefined {
  const plain = textOf(entry);
  if (plain !== undefined) return { name: plain, extra: [] };
  if (!isJsonObject(entry) || Object.keys(entry).length !== 1) return undefined;
  const [name = "", value = null] = Object.entries(entry)[0] ?? [];
  const maps: readonly Json[] = Array.isArray(value) ? (value as readonly Json[]) : value === null ? [] : [value];
  if (!maps.every(isJsonObject)) return undefined;
  const extra = maps.flatMap((map) => Object.entries(map).map(([key, item]) => ({ key, value: item, line })));
  return { name, extra };
}

function namesOf(args: ReadonlyMap<string, Argument>, id: string): readonly Named[] | undefined {
  const names = args.get("names");
  if (!names) {
    const name = args.get("name");
    const text = name === undefined || name.value === null ? id : textOf(name.value);
    return text === undefined ? undefined : [{ name: text, extra: [] }];
  }
  if (!Array.isArray(names.value)) return undefined;
  const read = (names.value as readonly Json[]).map((entry) => readName(entry, names.line));
  return read.every((named) => named !== undefined) ? read : undefined;
}

/** Opens `name` and `names` of every declaration: one draft a state to run, in the order of the declarations. */
export function draftStates(declarations: readonly Declaration[]): {
  readonly drafts: readonly Draft[];
  readonly errors: readonly ConfigError[];
} {
  const errors: ConfigError[] = [];
  const drafts = declarations.flatMap(({ args, ...declaration }, index): readonly Draft[] => {
    const own = collect(args);
    const names = namesOf(own, declaration.id);
    if (!names) {
      const line = (own.get("names") ?? own.get("name"))?.line ?? declaration.line;
      const place = { file: declaration.file, line };
      errors.push(configErrorAt("bad-sls", `id "${declaration.id}" has a name that is not text`, place, ""));
      return [];
    }
    return names.map(({ name, extra }, position) => {
      const merged = extra.length === 0 ? own : collect([...args, ...extra]);
      const order = merged.get("order")?.value ?? AUTOMATIC_ORDER + index;
      const rest = new Map([...merged].filter(([key]) => key !== "name" && key !== "names" && key !== "order"));
      return { ...declaration, name, args: rest, order, nameOrder: own.has("names") ? position + 1 : 0 };
    });
  });
  return { drafts, errors };
}

function sortKey({ order, nameOrder }: Draft, cap: number): number {
  const base = order === "last" ? cap + 1_000_000 : order === "first" ? 0 : typeof order === "number" ? order : cap;
  const number = base + nameOrder / 10_000;
  return number < 0 ? cap + 1_000_000 + number : number;
}

/**
 * Sorts drafts by `order` as Salt does: `first`, small numbers, the file's own order, negative numbers, `last`; equal
 * orders by state, name and function.
 */
export function sortDrafts(drafts: readonly Draft[]): readonly Draft[] {
  const cap = drafts.reduce(
    (most, { order }) =>
      typeof order === "number" && Number.isInteger(order) && order > most - 1 ? order + 100 : most,
    1,
  );
  const text = ({ state, name, fun }: Draft) => `${state}${name}${fun}`;
  return drafts
    .map((draft) => ({ draft, key: sortKey(draft, cap) }))
    .sort((one, other) => {
      if (one.key !== other.key) return one.key - other.key;
      const [a, b] = [text(one.draft), text(other.draft)];
      return a < b ? -1 : a > b ? 1 : 0;
    })
    .map(({ draft }) => draft);
}
