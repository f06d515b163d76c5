import { setImmediate } from "node:timers/promises";
import type { Checkpoint } from "../../core/audit/chain.ts";
import { checkpointSchema } from "../../core/audit/verify.ts";
import { ProtocolError } from "../../core/errors.ts";
import type { Entry, Store } from "../store/store.ts";

/** Where the audit chain lies in the store. Nothing below `audit/` ever expires or is deleted. */
export const RECORDS = "audit/record/";
export const CHECKPOINTS = "audit/checkpoint/";
export const HEAD = "audit/head";

const PAGE = 500;
const digits = (seq: number) => String(seq).padStart(16, "0");

export const recordKey = (seq: number): string => RECORDS + digits(seq);
export const checkpointKey = (seq: number): string => CHECKPOINTS + digits(seq);

/** A value of the chain as stored: JSON. */
export function encodeStored(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), "utf8");
}

/** What an entry holds, as JSON. Throws ProtocolError `audit-damaged` when it is none. */
export function decodeStored({ key, value }: Pick<Entry, "key" | "value">): unknown {
  try {
    return JSON.parse(Buffer.from(value).toString("utf8"));
  } catch (cause) {
    throw new ProtocolError("audit-damaged", `cannot read the audit log: "${key}" is damaged`, { cause });
  }
}

/** Where the chain ends as the master signed it with the last write; undefined when the entry holds no such thing. */
export function decodeHead(entry: Pick<Entry, "key" | "value">): Checkpoint | undefined {
  try {
    return checkpointSchema.safeParse(decodeStored(entry)).data;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Records as entries, in order, from number `from` on; other work goes on between pages. */
export function recordEntries(store: Store, from = 1): AsyncGenerator<Entry> {
  return entries(store, RECORDS, recordKey(from - 1));
}

/** Signed checkpoints as entries, in order, from number `from` on. */
export function checkpointEntries(store: Store, from = 1): AsyncGenerator<Entry> {
  return entries(store, CHECKPOINTS, checkpointKey(from - 1));
}

/** The number in the key of a record or checkpoint. */
export function seqOf({ key }: Pick<Entry, "key">): number {
  return Number(key.slice(key.lastIndexOf("/") + 1));
}

async function* entries(store: Store, prefix: string, start: string): AsyncGenerator<Entry> {
  for (let after = start; ;) {
    const page = await store.list(prefix, { after, limit: PAGE });
    yield* page;
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last.key;
    await setImmediate();
  }
}
