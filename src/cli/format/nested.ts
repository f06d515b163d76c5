import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import type { Colour, Paint } from "./paint.ts";
import { sanitise, sanitiseLine } from "./sanitise.ts";

function scalarText(value: null | boolean | number): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return String(value);
}

/**
 * Lines of a value in the shape of Salt's `nested` outputter (salt/output/nested.py): mappings under a rule of dashes,
 * four columns deeper each; list items behind `- ` or, when they are collections, below `|_`.
 */
export function nestedLines(value: Json, paint: Paint, options: NestedOptions = {}): readonly string[] {
  const { indent = 0, failed = false } = options;
  const text: Colour = failed ? "red" : "green";
  const lines: string[] = [];
  const put = (depth: number, colour: Colour, prefix: string, line: string) =>
    lines.push(`${" ".repeat(depth)}${paint(colour, `${prefix}${line}`)}`);

  const showText = (content: string, depth: number, prefix: string) => {
    const parts = sanitise(content).split("\n");
    if (parts.length > 1 && parts.at(-1) === "") parts.pop();
    for (const [index, part] of parts.entries())
      put(depth, text, index === 0 ? prefix : " ".repeat(prefix.length), part);
  };
  const showList = (items: readonly Json[], depth: number) => {
    for (const item of items) {
      const isList = Array.isArray(item);
      if (isList || isJsonObject(item)) {
        put(depth, text, "", "|_");
        show(item, depth + 2, isList ? "- " : "");
      } else show(item, depth, "- ");
    }
  };
  const showObject = (object: JsonObject, depth: number, prefix: string) => {
    if (depth > 0) put(depth, "cyan", "", "----------");
    for (const key of Object.keys(object).toSorted()) {
      put(depth, "cyan", prefix, `${sanitiseLine(key)}:`);
      show(object[key] ?? null, depth + 4, "");
    }
  };
  const show = (item: Json, depth: number, prefix: string): void => {
    if (typeof item === "string") showText(item, depth, prefix);
    else if (Array.isArray(item)) showList(item, depth);
    else if (isJsonObject(item)) showObject(item, depth, prefix);
    else if (item === null || typeof item === "boolean" || typeof item === "number")
      put(depth, "yellow", prefix, scalarText(item));
  };
  show(value, indent, "");
  return lines;
}

export interface NestedOptions {
  /** Columns before the outermost value. */
  readonly indent?: number;
  /** Text in red instead of green. */
  readonly failed?: boolean;
}
