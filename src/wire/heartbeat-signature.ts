import { verifySignature } from "../core/crypto/ed25519.ts";
import type { Identity, PublicIdentity } from "../core/identity.ts";
import type { Request } from "./messages.ts";
import { signedFields } from "./signed-fields.ts";

type Heartbeat = Request<"heartbeat">;
/** The part of a heartbeat that is signed. */
export type SignedPart = Pick<Heartbeat, "bootId" | "counter" | "lastSeq">;

const TAG = "latchkey heartbeat v1\0";

/**
 * The bytes that a heartbeat's signature covers: a tag, the session's handshake hash, counter, last job number and
 * boot_id, each behind its length (docs/PROTOCOL.md).
 */
export function heartbeatSigningBytes({ counter, lastSeq, bootId }: SignedPart, handshakeHash: Uint8Array): Buffer {
  return signedFields(TAG, handshakeHash, uint64(counter), uint64(lastSeq), bootId);
}

/** The minion's word that it is there now: good on the session with this handshake hash, once. */
export function signHeartbeat<T extends SignedPart>(
  heartbeat: T,
  identity: Identity,
  handshakeHash: Uint8Array,
): T & { readonly signature: Uint8Array } {
  return { ...heartbeat, signature: identity.sign.sign(heartbeatSigningBytes(heartbeat, handshakeHash)) };
}

/** Whether the peer's own identity signed this heartbeat on this session. */
export function verifyHeartbeat(
  heartbeat: SignedPart & Pick<Heartbeat, "signature">,
  peer: PublicIdentity,
  handshakeHash: Uint8Array,
): boolean {
  return verifySignature(peer.signKey, heartbeatSigningBytes(heartbeat, handshakeHash), heartbeat.signature);
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
