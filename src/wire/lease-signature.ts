import { type Identity, type PublicIdentity } from "../core/identity.ts";
import { verifyQuickly } from "../core/crypto/ed25519.ts";
import type { Request } from "./messages.ts";
import { signedFields } from "./signed-fields.ts";

type Signed<M extends "lease" | "lease.receipt"> = Request<M>;
type Unsigned<M extends "lease" | "lease.receipt"> = Omit<Request<M>, "signature">;

const LEASE_TAG = "latchkey lease v2\0";
const RECEIPT_TAG = "latchkey receipt v1\0";

/**
 * The bytes that a lease request's signature covers: a tag, the session's handshake hash, and every field, each behind
 * its length, in the order of docs/PROTOCOL.md.
 */
export function leaseSigningBytes(lease: Unsigned<"lease">, handshakeHash: Uint8Array): Buffer {
  const { path, purpose, version, device, luksUuid, layout, reencrypts, bootId, ephemeral } = lease;
  const said = [path, purpose, String(version), device, luksUuid, layout, reencrypts ? "reencrypts" : ""];
  return signedFields(LEASE_TAG, handshakeHash, ...said, bootId, ephemeral);
}

/** The bytes that a receipt's signature covers; as `leaseSigningBytes`. */
export function receiptSigningBytes(receipt: Unsigned<"lease.receipt">, handshakeHash: Uint8Array): Buffer {
  const took = Buffer.alloc(8);
  took.writeDoubleBE(receipt.tookMs);
  const wiped = receipt.wiped ? "wiped" : "kept";
  return signedFields(RECEIPT_TAG, handshakeHash, receipt.leaseId, receipt.outcome, wiped, took);
}

/** The request with its signature, good on the session with this handshake hash alone. */
export function signLease(lease: Unsigned<"lease">, identity: Identity, handshakeHash: Uint8Array): Signed<"lease"> {
  return { ...lease, signature: identity.sign.sign(leaseSigningBytes(lease, handshakeHash)) };
}

/** Whether the peer itself signed this request on this session. */
export async function verifyLease(
  lease: Signed<"lease">,
  peer: PublicIdentity,
  handshakeHash: Uint8Array,
): Promise<boolean> {
  return verifyQuickly(peer.signKey, leaseSigningBytes(lease, handshakeHash), lease.signature);
}

/** The receipt with its signature, good on the session with this handshake hash alone. */
export function signReceipt(
  receipt: Unsigned<"lease.receipt">,
  identity: Identity,
  handshakeHash: Uint8Array,
): Signed<"lease.receipt"> {
  return { ...receipt, signature: identity.sign.sign(receiptSigningBytes(receipt, handshakeHash)) };
}

/** Whether the peer itself signed this receipt on this session. */
export async function verifyReceipt(
  receipt: Signed<"lease.receipt">,
  peer: PublicIdentity,
  handshakeHash: Uint8Array,
): Promise<boolean> {
  return verifyQuickly(peer.signKey, receiptSigningBytes(receipt, handshakeHash), receipt.signature);
}
