import { SIGN_KEY_BYTES, verifyQuickly, verifySignature } from "../core/crypto/ed25519.ts";
import { ProtocolError } from "../core/errors.ts";
import type { Identity, PublicIdentity } from "../core/identity.ts";
import { PROTOCOL_VERSION } from "./limits.ts";

type Side = "master" | "minion";

/** Both sides mix this in first: protocol version and minion id cannot differ between them. */
export function prologue(minionId: string): Buffer {
  return Buffer.from(`latchkey\0${String.fromCodePoint(PROTOCOL_VERSION)}${minionId}`, "latin1");
}

/**
 * A handshake payload: the side's Ed25519 key and its signature over the handshake so far, which holds the X25519 keys.
 * So both keys of an identity prove each other, in this handshake and no other.
 */
export function makeProof(side: Side, identity: Identity, binding: Uint8Array): Buffer {
  return Buffer.concat([identity.sign.publicKey, identity.sign.sign(message(side, binding))]);
}

/** The identity behind a proof. Throws ProtocolError `bad-handshake`. */
export function checkProof(
  side: Side,
  payload: Uint8Array,
  binding: Uint8Array,
  dhKey: Uint8Array | undefined,
): PublicIdentity {
  const { signKey, signature } = proofIn(payload);
  return proven(verifySignature(signKey, message(side, binding), signature), signKey, dhKey);
}

/** As `checkProof`, for a master: see `verifyQuickly`. */
export async function checkProofQuickly(
  side: Side,
  payload: Uint8Array,
  binding: Uint8Array,
  dhKey: Uint8Array | undefined,
): Promise<PublicIdentity> {
  const { signKey, signature } = proofIn(payload);
  return proven(await verifyQuickly(signKey, message(side, binding), signature), signKey, dhKey);
}

function proofIn(payload: Uint8Array) {
  return { signKey: Buffer.from(payload.subarray(0, SIGN_KEY_BYTES)), signature: payload.subarray(SIGN_KEY_BYTES) };
}

function proven(isSigned: boolean, signKey: Uint8Array, dhKey: Uint8Array | undefined): PublicIdentity {
  if (isSigned && dhKey) return { signKey, dhKey };
  throw new ProtocolError("bad-handshake", "cannot accept the peer: its signing key is not proven");
}

function message(side: Side, binding: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`latchkey handshake v1 ${side}\0`, "latin1"), binding]);
}
