import { fingerprint, unpackPublicIdentity } from "../identity.ts";
import { jsonObjectSchema } from "../json-schema.ts";
import { isJsonObject } from "../json.ts";
import { z } from "../schema.ts";
import { type AuditRecord, type ChainHead, type Checkpoint, EMPTY_CHAIN, isSigned, recordFault } from "./chain.ts";

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`, "u"));
/** A checkpoint as it is kept and sent. */
export const checkpointSchema = z.strictObject({
  seq: z.number().int().nonnegative(),
  hash: hex(32),
  at: z.number(),
  signature: hex(64),
});

/** A record as it is stored and exported. */
export const auditRecordSchema = z.strictObject({
  seq: z.number().int().positive(),
  prev: hex(32),
  hash: hex(32),
  at: z.number(),
  kind: z.string(),
  actor: z.string(),
  subject: z.string(),
  from: z.string(),
  data: jsonObjectSchema,
});

/** A line of an export: what it is of, a record, a checkpoint, or the end. */
export const exportLineSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("audit"),
    version: z.literal(1),
    /** Both public keys, Ed25519 first. */
    master: hex(64),
    /** Where the chain stood before the first record that follows. */
    head: z.strictObject({ seq: z.number().int(), hash: hex(32) }),
  }),
  z.strictObject({ type: z.literal("record"), record: auditRecordSchema }),
  z.strictObject({ type: z.literal("checkpoint"), checkpoint: checkpointSchema }),
  /** What the store holds in the place of this record or checkpoint is none. */
  z.strictObject({
    type: z.literal("damaged"),
    what: z.enum(["record", "checkpoint"]),
    seq: z.number().int().nonnegative(),
  }),
  /** Signed when the export was made, over its last record, as an end: an export without it was cut off. */
  z.strictObject({ type: z.literal("end"), checkpoint: checkpointSchema }),
]);
export type ExportLine = z.infer<typeof exportLineSchema>;

/** A checkpoint that somebody else has kept. */
export interface WitnessedCheckpoint {
  /** Who keeps it: a minion id. */
  readonly witness: string;
  readonly checkpoint: Checkpoint;
}

/** What `verify` found. */
export interface Verification {
  readonly records: number;
  /** Number of the first record; above 1 the walk says nothing of those before. */
  readonly first: number;
  readonly checkpoints: number;
  readonly head: ChainHead;
  /** When the export was made, by its signed end; undefined where there is none. */
  readonly endedAt?: number | undefined;
  /** Every fault, in the order in which it was found; empty when all is well. */
  readonly faults: readonly string[];
}

/**
 * Walks a chain: every record's hash and place, every checkpoint's signature and hash, and that nothing is missing at the
 * end. Needs nothing but the lines and the master's public Ed25519 key; memory does not grow with the chain.
 */
export class ChainVerifier {
  readonly #signKey: Uint8Array;
  readonly #faults: string[] = [];
  readonly #first: number;
  /** By record number: what others keep of it. */
  readonly #kept = new Map<number, WitnessedCheckpoint[]>();
  #head: ChainHead;
  #records = 0;
  #checkpoints = 0;
  #endedAt: number | undefined;

  /**
   * `start` is the head before the first record; of the whole chain when left out. `witnesses` are checkpoints from
   * elsewhere that the chain must agree with.
   */
  constructor(signKey: Uint8Array, start: ChainHead = EMPTY_CHAIN, witnesses: readonly WitnessedCheckpoint[] = []) {
    this.#signKey = signKey;
    this.#head = start;
    this.#first = start.seq + 1;
    for (const kept of witnesses) {
      if (!isSigned("checkpoint", kept.checkpoint, signKey))
        this.#faults.push(`${nameOf(kept)} is not signed by this master`);
      else this.#kept.set(kept.checkpoint.seq, [...(this.#kept.get(kept.checkpoint.seq) ?? []), kept]);
    }
  }

  record(record: AuditRecord): void {
    this.#records += 1;
    // behind a damaged record its successor's word is all there is
    const before = this.#head.hash === "" ? { seq: this.#head.seq, hash: record.prev } : this.#head;
    const fault = recordFault(before, record);
    if (fault !== undefined) this.#faults.push(fault);
    // go on from what is there, so that one fault is one line
    this.#head = { seq: record.seq, hash: record.hash };
    for (const kept of this.#kept.get(record.seq) ?? []) {
      if (kept.checkpoint.hash !== record.hash) this.#faults.push(rewritten(nameOf(kept), record.seq));
    }
  }

  /** A checkpoint from the chain itself, behind the record that it signs. */
  checkpoint(checkpoint: Checkpoint): void {
    this.#checkpoints += 1;
    const { seq, hash } = this.#head;
    const name = `checkpoint ${checkpoint.seq}`;
    if (!isSigned("checkpoint", checkpoint, this.#signKey)) this.#faults.push(`${name} is not signed by this master`);
    else if (checkpoint.seq > seq) this.#faults.push(cutOff(name, seq));
    else if (checkpoint.seq < seq) this.#faults.push(`${name} is out of place behind record ${seq}`);
    else if (checkpoint.hash !== hash) this.#faults.push(rewritten(name, seq));
  }

  /** A line of an export; the first, which says whose it is, is the caller's. */
  take(line: ExportLine): void {
    switch (line.type) {
      case "audit":
        return;
      case "record":
        return this.record(line.record);
      case "checkpoint":
        return this.checkpoint(line.checkpoint);
      case "damaged":
        this.#faults.push(`${line.what} ${line.seq} is damaged`);
        if (line.what === "record") this.#head = { seq: line.seq, hash: "" };
        return;
      case "end":
        return this.#end(line.checkpoint);
      default:
        line satisfies never;
    }
  }

  /** What a store itself says of where its chain ends, once the whole chain was walked; undefined when it says nothing. */
  storedHead(head: Checkpoint | undefined): void {
    const { seq, hash } = this.#head;
    if (!head && seq === 0) return;
    const name = "the end of the chain as the store has it";
    if (!head || !isSigned("head", head, this.#signKey)) this.#faults.push(`${name} is not signed by this master`);
    else if (head.seq !== seq) this.#faults.push(`the store counts ${head.seq} records, but the last is ${seq}`);
    else if (head.hash !== hash) this.#faults.push(rewritten(name, seq));
  }

  /** A fault that the caller saw. */
  fault(text: string): void {
    this.#faults.push(text);
  }

  #end(end: Checkpoint): void {
    const { seq, hash } = this.#head;
    if (!isSigned("end", end, this.#signKey)) {
      this.#faults.push("the end is not signed as such by this master: the export was cut off");
      return;
    }
    this.#endedAt = end.at;
    if (end.seq !== seq) this.#faults.push(`the end is signed at record ${end.seq}, but the last is ${seq}`);
    else if (end.hash !== hash) this.#faults.push(rewritten("the end", seq));
  }

  /** What was found up to here, taken as the end of the chain. */
  result(): Verification {
    const { seq } = this.#head;
    const beyond = [...this.#kept.values()].flat().filter(({ checkpoint }) => checkpoint.seq > seq);
    return {
      records: this.#records,
      first: this.#first,
      checkpoints: this.#checkpoints,
      head: this.#head,
      endedAt: this.#endedAt,
      faults: [...this.#faults, ...beyond.map((kept) => cutOff(nameOf(kept), seq))],
    };
  }
}

const nameOf = ({ witness, checkpoint }: WitnessedCheckpoint) =>
  `the checkpoint ${checkpoint.seq} that ${witness} keeps`;
const cutOff = (name: string, last: number) =>
  `${name} is beyond the last record ${last}: the chain was cut off at the end`;
const rewritten = (name: string, seq: number) => `${name} does not agree with record ${seq}: the chain was rewritten`;

/** Verifies an export as its lines come; knows no more than the master's fingerprint. */
export class ExportVerifier {
  readonly #master: string;
  readonly #witnesses: readonly WitnessedCheckpoint[];
  #chain: ChainVerifier | undefined;
  #failure: string | undefined;
  #lines = 0;
  #ended = false;

  /** `master` is the master's fingerprint as the operator knows it; the export carries the keys that belong to it. */
  constructor(master: string, witnesses: readonly WitnessedCheckpoint[] = []) {
    this.#master = master;
    this.#witnesses = witnesses;
  }

  /** A line as text. */
  line(text: string): void {
    this.take(parseLine(text));
  }

  /** A line, parsed; undefined for one that is none. */
  take(line: ExportLine | undefined): void {
    this.#lines += 1;
    if (this.#failure !== undefined) return;
    if (!this.#chain) this.#begin(line);
    else if (!line) this.#chain.fault(`line ${this.#lines} is no line of an export`);
    else this.#follow(this.#chain, line);
  }

  /** What was found in all lines so far. */
  result(): Verification {
    const failure = this.#failure ?? (this.#chain ? undefined : "the export is empty");
    const found = this.#chain?.result();
    if (!found || failure !== undefined) {
      return { records: 0, first: 1, checkpoints: 0, head: EMPTY_CHAIN, faults: [failure ?? ""] };
    }
    return this.#ended
      ? found
      : { ...found, faults: [...found.faults, "the export has no signed end: it was cut off"] };
  }

  #begin(line: ExportLine | undefined): void {
    if (line?.type !== "audit") {
      this.#failure = line ? "the export has no first line" : `line ${this.#lines} is no line of an export`;
      return;
    }
    const keys = unpackPublicIdentity(Buffer.from(line.master, "hex"));
    if (!keys || fingerprint(keys) !== this.#master) this.#failure = "the export is of another master";
    else this.#chain = new ChainVerifier(keys.signKey, line.head, this.#witnesses);
    // nothing signs the first line: who takes records away at the beginning writes another
    if (line.head.seq === EMPTY_CHAIN.seq && line.head.hash === EMPTY_CHAIN.hash) return;
    this.#chain?.fault(`the export begins behind record ${line.head.seq}: it was cut off at the beginning`);
  }

  #follow(chain: ChainVerifier, line: ExportLine): void {
    if (this.#ended) chain.fault(`line ${this.#lines} stands behind the end`);
    if (line.type === "audit") chain.fault(`line ${this.#lines} starts another export`);
    this.#ended ||= line.type === "end";
    chain.take(line);
  }
}

/** Verifies an export that is at hand in one piece; as `ExportVerifier`. */
export function verifyExport(
  lines: Iterable<string>,
  master: string,
  witnesses: readonly WitnessedCheckpoint[] = [],
): Verification {
  const verifier = new ExportVerifier(master, witnesses);
  for (const line of lines) verifier.line(line);
  return verifier.result();
}

function parseLine(text: string): ExportLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = isJsonObject(value) ? exportLineSchema.safeParse(value) : undefined;
  return parsed?.success === true ? parsed.data : undefined;
}
