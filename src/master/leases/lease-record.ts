import type { AuditFact, AuditRecord } from "../../core/audit/chain.ts";
import { CANARY_PATH } from "../../core/canary.ts";
import { LEASE_OUTCOMES, LEASE_PURPOSES } from "../../core/lease-purpose.ts";
import { z } from "../../core/schema.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import type { Request } from "../../wire/messages.ts";
import type { LeaseDecision, LeaseFacts } from "./decision.ts";

/** One lease as the store keeps it for lists and receipts; the audit record of the same number is what proves it. */
export const leaseRecordSchema = z.object({
  leaseId: z.string(),
  /** Number of its audit record. */
  seq: z.number(),
  at: z.number(),
  id: z.string(),
  fingerprint: z.string(),
  address: z.string(),
  path: z.string(),
  purpose: z.enum(LEASE_PURPOSES),
  /** The version that was asked for, 0 for the current one. */
  asked: z.number().default(0),
  device: z.string(),
  luksUuid: z.string(),
  bootId: z.string(),
  /** The LUKS header in short: the digest of all that it says of the encryption, the rest in plain. */
  header: z
    .object({
      digest: z.string(),
      cipher: z.string(),
      sectorSize: z.number(),
      offset: z.number(),
      integrity: z.string(),
      known: z.boolean(),
    })
    .default({ digest: "", cipher: "", sectorSize: 0, offset: 0, integrity: "", known: false }),
  verdict: z.enum(["allow", "hold", "deny"]),
  /** Why, in the master's words; never told to the peer. */
  reasons: z.array(z.object({ code: z.string(), text: z.string() })),
  /** Name of the rule that decided, "" when none did. */
  rule: z.string(),
  /** SHA-256 of the release policy, hex; "" when there is none. */
  policyHash: z.string(),
  /** Version of the secret that was released, 0 when none was. */
  version: z.number(),
  /** Refusals like this one that were not recorded, since the last that was. */
  suppressed: z.number(),
});
export type LeaseRecord = z.infer<typeof leaseRecordSchema>;
/** A lease before it has its place in the audit chain. */
export type NewLease = Omit<LeaseRecord, "seq">;

/** What became of a released key, as the minion tells it. */
export const receiptRecordSchema = z.object({
  leaseId: z.string(),
  seq: z.number(),
  at: z.number(),
  id: z.string(),
  outcome: z.enum(LEASE_OUTCOMES),
  wiped: z.boolean(),
  tookMs: z.number(),
});
export type ReceiptRecord = z.infer<typeof receiptRecordSchema>;

export const leaseKey = (leaseId: string): string => `leases/${leaseId}`;
/** Of the receipt of the key's use. */
export const receiptKey = (leaseId: string): string => `receipts/${leaseId}`;
/** Of the receipt that says `mounted`. */
export const mountedKey = (leaseId: string): string => `mounted/${leaseId}`;

/** Whether something that this lease's key opened or formatted can be mounted. */
export function canBeMounted({ path, purpose }: LeaseRecord): boolean {
  return (purpose === "open" || purpose === "format") && path !== CANARY_PATH;
}

const KINDS = { allow: "lease", hold: "hold", deny: "deny" } as const;

/** A decided lease, not yet recorded. */
export function newLease(
  leaseId: string,
  at: number,
  facts: LeaseFacts,
  { verdict, reasons, rule = "", policyHash = "" }: LeaseDecision,
  version: number,
): NewLease {
  return {
    leaseId,
    at,
    ...facts,
    verdict,
    reasons: reasons.map(({ code, text }) => ({ code, text })),
    rule,
    policyHash,
    version,
    suppressed: 0,
  };
}

/** A lease as the audit chain has it. */
export function leaseFact({ at, id, address, ...data }: NewLease): AuditFact {
  return { at, kind: KINDS[data.verdict], actor: id, subject: id, from: address, data };
}

/**
 * A receipt as the audit chain has it: with the minion's signature and the handshake hash that it covers, so that the
 * minion's word can be proven with its public key later.
 */
export function receiptFact(
  at: number,
  { minionId, address, handshakeHash }: PeerSession,
  lease: LeaseRecord,
  { leaseId, outcome, wiped, tookMs, signature }: Request<"lease.receipt">,
): AuditFact {
  const signed = {
    signature: Buffer.from(signature).toString("hex"),
    handshakeHash: Buffer.from(handshakeHash).toString("hex"),
  };
  const { seq, path, purpose, device, bootId } = lease;
  const data = { leaseId, lease: seq, path, purpose, device, bootId, outcome, wiped, tookMs, ...signed };
  return { at, kind: "receipt", actor: minionId, subject: minionId, from: address, data };
}

/** A lease with the number of its audit record. */
export function recordedLease(lease: NewLease, { seq }: Pick<AuditRecord, "seq">): LeaseRecord {
  return { ...lease, seq };
}
