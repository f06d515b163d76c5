import { verifySignature } from "../core/crypto/ed25519.ts";
import { type Identity, type PublicIdentity } from "../core/identity.ts";
import type { Request } from "./messages.ts";
import { signedFields } from "./signed-fields.ts";

type Signed = Request<"volume.rotation">;
type Unsigned = Omit<Signed, "signature">;

const ROTATION_TAG = "latchkey rotation v1\0";

/**
 * The bytes that the signature of a rotation's step covers: a tag, the session's handshake hash, and every field, each
 * behind its length, in the order of docs/PROTOCOL.md.
 */
export function rotationSigningBytes(step: Unsigned, handshakeHash: Uint8Array): Buffer {
  const { event, volume, path, device, luksUuid, from, to, slot, keepOld } = step;
  const keep = keepOld ? "keep" : "kill";
  const texts = [event, volume, path, device, luksUuid, String(from), String(to), String(slot), keep];
  return signedFields(ROTATION_TAG, handshakeHash, ...texts);
}

/** The step with its signature, good on the session with this handshake hash alone. */
export function signRotation(step: Unsigned, identity: Identity, handshakeHash: Uint8Array): Signed {
  return { ...step, signature: identity.sign.sign(rotationSigningBytes(step, handshakeHash)) };
}

/** Whether the peer itself signed this step on this session. */
export function verifyRotation(step: Signed, peer: PublicIdentity, handshakeHash: Uint8Array): boolean {
  return verifySignature(peer.signKey, rotationSigningBytes(step, handshakeHash), step.signature);
}
