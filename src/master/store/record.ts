import { BugError } from "../../core/errors.ts";
import type { z } from "../../core/schema.ts";
import type { Entry, PutChange } from "./store.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A record as stored bytes: JSON. */
export function encodeRecord(record: object): Uint8Array {
  return encoder.encode(JSON.stringify(record));
}

/** The record of an entry. Throws BugError `bad-record` when the bytes are not what the schema says. */
export function decodeRecord<T>(schema: z.ZodType<T>, entry: Pick<Entry, "key" | "value">): T {
  try {
    return schema.parse(JSON.parse(decoder.decode(entry.value)));
  } catch (cause) {
    throw new BugError("bad-record", `cannot read the record "${entry.key}" of the store`, { cause });
  }
}

/** A put of a record, for `Store.write`. */
export function putRecord(
  key: string,
  record: object,
  options: { readonly ifRevision?: number; readonly ttlMs?: number } = {},
): PutChange {
  return { op: "put", key, value: encodeRecord(record), ...options };
}
