import type { KeyEntry } from "../core/control-api.ts";
import { type PublicIdentity, sameIdentity } from "../core/identity.ts";
import { MINION_ID } from "../core/ids.ts";
import { z } from "../core/schema.ts";

/** A minion key as the store keeps it; the raw keys in base64. */
export const keyRecordSchema = z.object({
  id: z.string().regex(MINION_ID),
  state: z.enum(["pending", "accepted", "rejected", "denied"]),
  fingerprint: z.string(),
  address: z.string(),
  firstSeen: z.number(),
  lastSeen: z.number(),
  signKey: z.string(),
  dhKey: z.string(),
});
export type KeyRecord = z.infer<typeof keyRecordSchema>;

/** A record for keys seen for the first time. */
export function newKeyRecord(
  peer: PublicIdentity,
  facts: Pick<KeyRecord, "id" | "state" | "fingerprint" | "address"> & { readonly now: number },
): KeyRecord {
  const { now, ...rest } = facts;
  return {
    ...rest,
    firstSeen: now,
    lastSeen: now,
    signKey: Buffer.from(peer.signKey).toString("base64"),
    dhKey: Buffer.from(peer.dhKey).toString("base64"),
  };
}

/** Whether the record is of exactly these keys, both of them. */
export function holdsKeys(record: KeyRecord, peer: PublicIdentity): boolean {
  return sameIdentity(keysOf(record), peer);
}

/** The keys of a record. */
export function keysOf({ signKey, dhKey }: KeyRecord): PublicIdentity {
  return { signKey: Buffer.from(signKey, "base64"), dhKey: Buffer.from(dhKey, "base64") };
}

/** What operators see of a record. */
export function toKeyEntry(record: KeyRecord): KeyEntry {
  const { id, state, fingerprint, address, firstSeen, lastSeen } = record;
  return { id, state, fingerprint, address, firstSeen, lastSeen };
}
