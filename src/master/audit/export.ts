import { type Checkpoint, EMPTY_CHAIN } from "../../core/audit/chain.ts";
import { auditRecordSchema, checkpointSchema, type ExportLine } from "../../core/audit/verify.ts";
import { type PublicIdentity, packPublicIdentity } from "../../core/identity.ts";
import type { z } from "../../core/schema.ts";
import type { Entry, Store } from "../store/store.ts";
import { checkpointEntries, decodeStored, recordEntries, seqOf } from "./stored.ts";

/**
 * The whole log of a store as lines that, written as JSON, `verifyExport` proves with nothing but the master's fingerprint: a first
 * line with the master's public keys, records and checkpoints in order, and `end`, signed as the end up to which it goes.
 */
export async function* exportAudit(
  store: Store,
  master: PublicIdentity,
  end: Checkpoint | undefined,
): AsyncGenerator<ExportLine> {
  yield { type: "audit", version: 1, master: packPublicIdentity(master).toString("hex"), head: EMPTY_CHAIN };
  if (!end) return;
  yield* auditLines(store, end.seq);
  yield { type: "end", checkpoint: end };
}

/** Records up to number `last`, each followed by the checkpoints up to it; without `last`, all that there are. */
export async function* auditLines(store: Store, last = Number.MAX_SAFE_INTEGER): AsyncGenerator<ExportLine> {
  const checkpoints = checkpointEntries(store);
  let next = await checkpoints.next();
  for await (const entry of recordEntries(store)) {
    const seq = seqOf(entry);
    if (seq > last) return;
    yield recordLine(entry);
    while (next.done !== true && seqOf(next.value) <= seq) {
      yield checkpointLine(next.value);
      next = await checkpoints.next();
    }
  }
  // signed, and no record left that they could stand behind
  for (; next.done !== true && last === Number.MAX_SAFE_INTEGER; next = await checkpoints.next()) {
    yield checkpointLine(next.value);
  }
}

function recordLine(entry: Entry): ExportLine {
  const record = parsed(auditRecordSchema, entry);
  return record ? { type: "record", record } : { type: "damaged", what: "record", seq: seqOf(entry) };
}

function checkpointLine(entry: Entry): ExportLine {
  const checkpoint = parsed(checkpointSchema, entry);
  return checkpoint ? { type: "checkpoint", checkpoint } : { type: "damaged", what: "checkpoint", seq: seqOf(entry) };
}

/** What an entry holds; undefined when it is not what belongs in its place. */
function parsed<T extends { readonly seq: number }>(schema: z.ZodType<T>, entry: Entry): T | undefined {
  try {
    const { data } = schema.safeParse(decodeStored(entry));
    return data?.seq === seqOf(entry) ? data : undefined;
  } catch {
    return undefined;
  }
}
