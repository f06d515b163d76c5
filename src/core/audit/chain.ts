import { canonicalJson } from "../canonical-json.ts";
import { verifySignature } from "../crypto/ed25519.ts";
import { sha256 } from "../crypto/hash.ts";
import { type JsonObject, isJsonObject } from "../json.ts";
import type { AuditKind } from "./kinds.ts";

/** What happened, before it has its place in the chain. Never key material. */
export interface AuditFact {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** What happened. */
  readonly kind: AuditKind;
  /** Who did it: a minion id, an operator, `master`. */
  readonly actor: string;
  /** Whom or what it is about, mostly a minion id; "" when nobody. */
  readonly subject: string;
  /** The address it came from, as the master saw it; "" from inside. */
  readonly from: string;
  readonly data: JsonObject;
}

/** A fact in its place: numbered from 1 without gaps, and bound to all before it. */
export interface AuditRecord extends Omit<AuditFact, "kind"> {
  /** One of the kinds of the version that wrote it. */
  readonly kind: string;
  readonly seq: number;
  /** Hash of the record before, 64 hex digits; zeros for the first. */
  readonly prev: string;
  /** SHA-256 over a tag and the canonical JSON of all other fields, 64 hex digits. */
  readonly hash: string;
}

/** The master's signature over the chain up to and with one record. */
export interface Checkpoint {
  readonly seq: number;
  readonly hash: string;
  readonly at: number;
  /** Ed25519, hex. */
  readonly signature: string;
}

/** Where a chain stands: number and hash of its last record. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

/** The head of a chain with no records. */
export const EMPTY_CHAIN: ChainHead = { seq: 0, hash: "0".repeat(64) };

const RECORD_TAG = "latchkey audit record v1\0";
/**
 * What the master says with a signature over a chain: that it came so far (`checkpoint`, which others keep), that its store
 * goes so far (`head`), or that an export does (`end`). None passes for another: an export cut off at a checkpoint has no end.
 */
export type ChainStatement = "checkpoint" | "head" | "end";
const tagOf = (statement: ChainStatement) => `latchkey audit ${statement} v1\0`;

function recordHash(record: Omit<AuditRecord, "hash">): string {
  const { seq, prev, at, kind, actor, subject, from, data } = record;
  return sha256(
    Buffer.from(RECORD_TAG + canonicalJson({ seq, prev, at, kind, actor, subject, from, data }), "utf8"),
  ).toString("hex");
}

/** The record that follows `head`. */
export function chainRecord(head: ChainHead, fact: AuditFact): AuditRecord {
  const record = { seq: head.seq + 1, prev: head.hash, ...fact };
  return { ...record, hash: recordHash(record) };
}

function signedBytes({ seq, hash, at }: Omit<Checkpoint, "signature">, statement: ChainStatement): Buffer {
  return Buffer.from(tagOf(statement) + canonicalJson({ seq, hash, at }), "utf8");
}

/** Signs the chain as it stands. */
export function signChain(
  statement: ChainStatement,
  { seq, hash }: ChainHead,
  at: number,
  sign: (message: Uint8Array) => Uint8Array,
): Checkpoint {
  const unsigned = { seq, hash, at };
  return { ...unsigned, signature: Buffer.from(sign(signedBytes(unsigned, statement))).toString("hex") };
}

/** Whether the holder of this Ed25519 key made that statement of the chain. */
export function isSigned(statement: ChainStatement, signed: Checkpoint, signKey: Uint8Array): boolean {
  if (!/^[0-9a-f]{128}$/u.test(signed.signature)) return false;
  return verifySignature(signKey, signedBytes(signed, statement), Buffer.from(signed.signature, "hex"));
}

/** What is wrong with a record, given the head before it; undefined when it fits. */
export function recordFault(head: ChainHead, record: AuditRecord): string | undefined {
  if (record.seq !== head.seq + 1) {
    if (record.seq <= head.seq) return `record ${record.seq} is out of order after ${head.seq}`;
    const [first, last] = [head.seq + 1, record.seq - 1];
    return first === last ? `record ${first} is missing` : `records ${first} to ${last} are missing`;
  }
  if (!isJsonObject(record.data) || recordHash(record) !== record.hash) return `record ${record.seq} was changed`;
  if (record.prev !== head.hash)
    return `record ${record.seq} does not follow record ${head.seq}: one of the two was replaced`;
  return undefined;
}
