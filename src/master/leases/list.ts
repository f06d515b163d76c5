import type { LeaseList } from "../../core/control-api.ts";
import { decodeRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import {
  leaseKey,
  leaseRecordSchema,
  mountedKey,
  receiptKey,
  type ReceiptRecord,
  receiptRecordSchema,
} from "./lease-record.ts";

async function readReceipt(store: Store, key: string): Promise<ReceiptRecord | null> {
  const kept = await store.get(key);
  return kept === undefined ? null : decodeRecord(receiptRecordSchema, kept);
}

/** The last leases, newest first, each with its two receipts: of the key's use, and of the mount; null where none came. */
export async function listLeases(store: Store, limit: number): Promise<LeaseList> {
  const entries = await store.list(leaseKey(""), { limit, reverse: true });
  const leases = entries.map(async (entry) => {
    const lease = decodeRecord(leaseRecordSchema, entry);
    return {
      ...lease,
      receipt: await readReceipt(store, receiptKey(lease.leaseId)),
      mounted: await readReceipt(store, mountedKey(lease.leaseId)),
    };
  });
  return { leases: await Promise.all(leases) };
}

/** When a secret was last released to a host, milliseconds since the epoch; 0 when that is not known (any more). */
export type LastLeases = (id: string, path: string) => number;

/** As many of the last leases are looked through, refused ones among them. */
const LOOKED_THROUGH = 5000;

/** The last release of each secret to each host, as far as the lists reach. */
export async function readLastLeases(store: Store): Promise<LastLeases> {
  const entries = await store.list(leaseKey(""), { limit: LOOKED_THROUGH, reverse: true });
  const last = new Map<string, number>();
  for (const entry of entries) {
    const { id, path, verdict, at } = decodeRecord(leaseRecordSchema, entry);
    const key = `${id} ${path}`;
    if (verdict === "allow" && !last.has(key)) last.set(key, at);
  }
  return (id, path) => last.get(`${id} ${path}`) ?? 0;
}
