import { isJsonObject, type Json } from "../core/json.ts";
import type { JobReturn } from "./spool.ts";

/** Largest return that is sent whole: a frame has 8 MiB. */
const MAX_DATA_BYTES = 6 * 1024 * 1024;
/** Longest text that is left whole in a return that is too large, tried in this order. */
const TEXT_CHARACTERS = [64 * 1024, 16 * 1024, 4096, 1024, 256];

const sizeOf = (data: Json): number => Buffer.byteLength(JSON.stringify(data));

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
export function boundedReturn(entry: JobReturn): JobReturn {
  const bytes = sizeOf(entry.data);
  if (bytes <= MAX_DATA_BYTES) return entry;
  const isStates = entry.fun.startsWith("state.");
  for (const limit of TEXT_CHARACTERS) {
    const data = shorten(entry.data, limit);
    if (sizeOf(data) <= MAX_DATA_BYTES) return { ...entry, data };
  }
  const bare = isStates ? withoutChanges(shorten(entry.data, 256)) : entry.data;
  if (sizeOf(bare) <= MAX_DATA_BYTES) return { ...entry, data: bare };
  const text = `the return has ${bytes} bytes, more than ${MAX_DATA_BYTES}: not sent`;
  return { ...entry, data: isStates ? [text] : text };
}
