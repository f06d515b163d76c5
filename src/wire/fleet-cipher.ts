import { randomBytes } from "node:crypto";
import { AEAD_KEY_BYTES, aeadOpen, aeadSeal } from "../core/crypto/aead.ts";
import { ProtocolError } from "../core/errors.ts";
import { KIND } from "./frames.ts";
import { PROTOCOL_VERSION } from "./limits.ts";
import { noiseNonce } from "./noise-state.ts";

const HEADER_BYTES = 2 + 4 + 8;

/** The key that all accepted minions share, for what is published. */
export interface FleetKey {
  /** Random, 32 bits: tells keys apart, also across restarts of the master. */
  readonly id: number;
  readonly key: Buffer;
}

/** A new key, never that of `previous`. */
export function generateFleetKey(previous?: FleetKey): FleetKey {
  let id: number;
  do id = randomBytes(4).readUInt32BE();
  while (id === previous?.id);
  return { id, key: randomBytes(AEAD_KEY_BYTES) };
}

/**
 * Seals what the master publishes. A nonce never repeats under a key: the counter starts at 0 with each key, only goes
 * up, and neither key nor counter outlives the process.
 */
export class FleetSealer {
  readonly fleetKey: FleetKey;
  #counter = 0;

  constructor(fleetKey: FleetKey) {
    this.fleetKey = fleetKey;
  }

  /** The frame: version, kind, key id, counter (all authenticated), ciphertext, tag. */
  seal(envelope: Uint8Array): Buffer {
    const nonce = noiseNonce(this.#counter);
    this.#counter += 1;
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header[0] = PROTOCOL_VERSION;
    header[1] = KIND.job;
    header.writeUInt32BE(this.fleetKey.id, 2);
    header.set(nonce.subarray(4), 6);
    return aeadSeal(this.fleetKey.key, nonce, header, envelope, header);
  }
}

/** The envelope in a published frame, or the reason to drop it. Never throws for what came over the network. */
export function openPublished(
  frame: Buffer,
  fleetKey: FleetKey | undefined,
): Buffer | "garbage" | "version" | "unknown-fleet-key" | "bad-seal" {
  if (frame.length > 0 && frame[0] !== PROTOCOL_VERSION) return "version";
  if (frame.length < HEADER_BYTES || frame[1] !== KIND.job) return "garbage";
  if (!fleetKey || frame.readUInt32BE(2) !== fleetKey.id) return "unknown-fleet-key";
  const nonce = Buffer.alloc(12);
  nonce.set(frame.subarray(6, HEADER_BYTES), 4);
  try {
    return aeadOpen(fleetKey.key, nonce, frame.subarray(0, HEADER_BYTES), frame.subarray(HEADER_BYTES));
  } catch (error) {
    if (error instanceof ProtocolError) return "bad-seal";
    throw error;
  }
}
