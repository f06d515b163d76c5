import { isJsonObject, type Json, jsonItems, MAX_JSON_DEPTH } from "../core/json.ts";
import { MAX_ITEMS } from "../wire/limits.ts";
import type { JobReturn } from "./spool.ts";

/** Largest return that is sent whole: a frame has 8 MiB. */
const MAX_DATA_BYTES = 6 * 1024 * 1024;
/** The rest is for what is around the data. */
const MAX_DATA_ITEMS = MAX_ITEMS - 100;
/** What is deeper is cut off; around the data there are a few levels more. */
const MAX_DATA_DEPTH = MAX_JSON_DEPTH - 10;
/** Longest text that is left whole in a return that is too large, tried in this order. */
const TEXT_CHARACTERS = [64 * 1024, 16 * 1024, 4096, 1024, 256];

const sizeOf = (data: Json): number => Buffer.byteLength(JSON.stringify(data));
const itemsOf = (data: Json): number => jsonItems(data) ?? 0;

/**
 * What no master would take goes, and says so: nesting that is too deep becomes one sentence, a key `__proto__` is left out.
 * Such a return would be refused each time that it is sent.
 */
function acceptable(data: unknown, depth = 0): Json {
  const isList = Array.isArray(data);
  if (!isList && !isJsonObject(data)) return plain(data);
  if (depth >= MAX_DATA_DEPTH) return "[shortened: nested too deep]";
  if (isList) return data.map((item: unknown) => acceptable(item, depth + 1));
  const entries = Object.entries(data).filter(
    ([key, value]) => key !== "__proto__" && (value as unknown) !== undefined,
  );
  return Object.fromEntries(entries.map(([key, value]) => [key, acceptable(value, depth + 1)]));
}

/** As JSON has it: a number that is none is null. */
function plain(data: unknown): Json {
  if (typeof data === "string" || typeof data === "boolean") return data;
  return typeof data === "number" && Number.isFinite(data) ? data : null;
}
const fits = (data: Json): boolean => sizeOf(data) <= MAX_DATA_BYTES && itemsOf(data) <= MAX_DATA_ITEMS;

function shortenText(text: string, limit: number): string {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit)}\n[shortened: ${text.length - limit} of ${text.length} characters are left out]`;
}

/** Every text in it cut to `limit`; keys stay as they are. */
function shorten(data: Json, limit: number): Json {
  if (typeof data === "string") return shortenText(data, limit);
  if (Array.isArray(data)) return (data as readonly Json[]).map((item) => shorten(item, limit));
  if (!isJsonObject(data)) return data;
  return Object.fromEntries(Object.entries(data).map(([key, item]) => [key, shorten(item, limit)]));
}

/** The rows of a state run with their results and without their changes. */
function withoutChanges(data: Json): Json {
  if (!isJsonObject(data)) return data;
  const comment = "[shortened: changes and comment are left out]";
  return Object.fromEntries(
    Object.entries(data).map(([key, row]) => [key, isJsonObject(row) ? { ...row, changes: {}, comment } : row]),
  );
}

/**
 * A return that a frame can take (I8): in one that is too large long texts are cut, and say so; every row of a state run stays,
 * and so do the verdict and the exit code. What is too large even then becomes one sentence.
 */
export function boundedReturn(given: JobReturn): JobReturn {
  const entry = jsonItems(given.data) === undefined ? { ...given, data: acceptable(given.data) } : given;
  if (fits(entry.data)) return entry;
  const isStates = entry.fun.startsWith("state.");
  for (const limit of TEXT_CHARACTERS) {
    const data = shorten(entry.data, limit);
    if (fits(data)) return { ...entry, data };
  }
  const bare = isStates ? withoutChanges(shorten(entry.data, 256)) : entry.data;
  if (fits(bare)) return { ...entry, data: bare };
  const bytes = sizeOf(entry.data);
  const text =
    bytes > MAX_DATA_BYTES
      ? `the return has ${bytes} bytes, more than ${MAX_DATA_BYTES}: not sent`
      : `the return has ${itemsOf(entry.data)} items, more than ${MAX_DATA_ITEMS}: not sent`;
  return { ...entry, data: isStates ? [text] : text };
}
