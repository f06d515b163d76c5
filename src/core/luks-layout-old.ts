import type { Json } from "./json.ts";
import type { LuksLayout } from "./luks-layout.ts";

/** Whether a layout was kept by a version that wrote every value as a text: the number 4096 like the text "4096". */
export const isOldLayout = (layout: LuksLayout): boolean => layout.get("version") === '"2"';

/** The same of its text, without reading all of it: sorted, the version is its last line. */
export const isOldText = (text: string): boolean => text.endsWith('\nversion "2"');

const textOf = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

function oldValue(text: string): string | undefined {
  if (text === "{}") return undefined;
  const value = JSON.parse(text) as Json;
  const items: readonly Json[] | undefined = Array.isArray(value) ? value : undefined;
  return JSON.stringify(items === undefined ? textOf(value) : items.map(textOf).toSorted().join(","));
}

/** A layout as such a version would have kept it, to be compared with one that it kept. */
export function asOldLayout(layout: LuksLayout): LuksLayout {
  return new Map(
    [...layout].flatMap(([field, text]): readonly [string, string][] => {
      const value = oldValue(text);
      return value === undefined ? [] : [[field, value]];
    }),
  );
}
