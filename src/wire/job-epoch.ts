import { type SigningKey, verifySignature } from "../core/crypto/ed25519.ts";
import type { SignedEpoch } from "./messages.ts";
import { signedFields } from "./signed-fields.ts";

const TAG = "latchkey job epoch v1\0";

/** A job's number is epoch × this + its place in the epoch. */
export const EPOCH_JOBS = 2 ** 24;

/** The last epoch whose numbers are safe integers. */
export const MAX_EPOCH = 2 ** 29 - 1;

/** The epoch of a job's number. */
export function epochOf(seq: number): number {
  return Math.floor(seq / EPOCH_JOBS);
}

/** What an epoch's signature covers; see docs/PROTOCOL.md. */
export function epochSigningBytes({ epoch, nonce }: Pick<SignedEpoch, "epoch" | "nonce">): Buffer {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(epoch));
  return signedFields(TAG, number, nonce);
}

/** The master's word that it has begun this epoch; the nonce (16 bytes) tells it from another life's of the same number. */
export function signEpoch(epoch: number, nonce: Uint8Array, key: SigningKey): SignedEpoch {
  return { epoch, nonce, signature: key.sign(epochSigningBytes({ epoch, nonce })) };
}

/** Whether the master with this key signed it. */
export function isEpochOf(signed: SignedEpoch, masterKey: Uint8Array): boolean {
  return verifySignature(masterKey, epochSigningBytes(signed), signed.signature);
}
