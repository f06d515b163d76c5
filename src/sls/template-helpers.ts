import { isJsonObject, type Json } from "../core/json.ts";
import { outerFirst } from "../core/volume-nesting.ts";

/** A value inside a template; undefined is what is not there. */
export type TemplateValue = Json | undefined;

/** A helper: positional arguments to a value. Throws Error with a reason; the caller adds the place. */
export type Helper = (...args: readonly TemplateValue[]) => TemplateValue;

/** True for what a template's `if` takes as false: nothing, null, false, 0, "" and the empty list. */
export function isFalsy(value: TemplateValue): boolean {
  return value === undefined || value === null || value === false || value === 0 || value === "" || isEmptyList(value);
}

function isEmptyList(value: TemplateValue): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Text of a value inside a template: JSON for lists and maps, which is YAML's flow form. */
export function templateText(value: Json): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function given(value: TemplateValue, what: string): Json {
  if (value === undefined || value === null) throw new Error(`${what} is missing`);
  return value;
}

function text(value: TemplateValue, what: string): string {
  return templateText(given(value, what));
}

function list(value: TemplateValue): readonly Json[] {
  if (!Array.isArray(value)) throw new Error("the first argument is not a list");
  return value as readonly Json[];
}

function number(value: TemplateValue): number {
  if (typeof value !== "number") throw new Error("an argument is not a number");
  return value;
}

function same(a: TemplateValue, b: TemplateValue): boolean {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}

/** Looks a value up by `path:to:key` as Salt's `pillar.get` does; undefined when a part is missing. */
export function lookupPath(data: Json, path: string): TemplateValue {
  let value: TemplateValue = data;
  for (const key of path.split(":")) {
    if (Array.isArray(value) && /^\d+$/u.test(key)) value = (value as readonly Json[])[Number(key)];
    else if (isJsonObject(value) && Object.hasOwn(value, key)) value = value[key];
    else return undefined;
  }
  return value;
}

/** Names of a pillar's volumes in the order in which they come up: one inside of another after it. */
function volumeOrder(volumes: TemplateValue): Json {
  if (volumes === undefined || volumes === null) return [];
  if (!isJsonObject(volumes)) throw new Error("the argument is no mapping of volumes");
  const places = Object.entries(volumes).map(([name, volume]) => {
    const point = lookupPath(volume, "mount:point");
    const file = lookupPath(volume, "loop:file");
    return {
      name,
      ...(typeof point === "string" ? { mount: { point } } : {}),
      ...(typeof file === "string" ? { loop: { file } } : {}),
    };
  });
  return outerFirst(places).map(({ name }) => name);
}

/** The helpers that every template has, besides `if`, `unless`, `each`, `with` and `lookup`. */
export const HELPERS: Readonly<Record<string, Helper>> = {
  default: (value, fallback) => (value === undefined || value === null ? fallback : value),
  eq: (a, b) => same(a, b),
  ne: (a, b) => !same(a, b),
  gt: (a, b) => number(a) > number(b),
  lt: (a, b) => number(a) < number(b),
  and: (...values) => values.find(isFalsy) ?? values.at(-1),
  or: (...values) => values.find((value) => !isFalsy(value)) ?? values.at(-1),
  not: (value) => isFalsy(value),
  json: (value) => JSON.stringify(given(value, "the value")),
  join: (values, separator = ",") =>
    list(values)
      .map((value) => templateText(value))
      .join(text(separator, "the separator")),
  split: (value, separator = ",") => text(value, "the text").split(text(separator, "the separator")),
  concat: (...values) => values.map((value) => text(value, "a part")).join(""),
  lower: (value) => text(value, "the text").toLowerCase(),
  upper: (value) => text(value, "the text").toUpperCase(),
  replace: (value, from, to) =>
    text(value, "the text").replaceAll(text(from, "what to replace"), () => text(to, "the replacement")),
  includes: (values, value) =>
    typeof values === "string"
      ? values.includes(text(value, "the part"))
      : list(values).some((one) => same(one, value)),
  volume_order: volumeOrder,
  length: (value) =>
    isJsonObject(value) ? Object.keys(value).length : typeof value === "string" ? value.length : list(value).length,
};
