import { verifySignature } from "../core/crypto/ed25519.ts";
import { type Identity, type PublicIdentity } from "../core/identity.ts";
import type { Request } from "./messages.ts";
import { signedFields } from "./signed-fields.ts";

type Signed = Request<"volume.erased">;
type Unsigned = Omit<Signed, "signature">;

const ERASED_TAG = "latchkey erased v1\0";

/**
 * The bytes that the signature of an erase receipt covers: a tag, the session's handshake hash, and every field, each behind
 * its length, in the order of docs/PROTOCOL.md.
 */
export function erasedSigningBytes(receipt: Unsigned, handshakeHash: Uint8Array): Buffer {
  const { volume, path, device, luksUuid, killed } = receipt;
  return signedFields(ERASED_TAG, handshakeHash, volume, path, device, luksUuid, killed.join(","));
}

/** The receipt with its signature, good on the session with this handshake hash alone. */
export function signErased(receipt: Unsigned, identity: Identity, handshakeHash: Uint8Array): Signed {
  return { ...receipt, signature: identity.sign.sign(erasedSigningBytes(receipt, handshakeHash)) };
}

/** Whether the peer itself signed this receipt on this session. */
export function verifyErased(receipt: Signed, peer: PublicIdentity, handshakeHash: Uint8Array): boolean {
  return verifySignature(peer.signKey, erasedSigningBytes(receipt, handshakeHash), receipt.signature);
}
