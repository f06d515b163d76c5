import { AEAD_NONCE_BYTES, aeadOpen, aeadSeal } from "../core/crypto/aead.ts";
import { hkdfSha256, sha256 } from "../core/crypto/hash.ts";
import { BugError } from "../core/errors.ts";

const EMPTY = new Uint8Array(0);

/** The nonce of AESGCM in Noise (section 12.4): 4 zero bytes, then the counter in 8 bytes, big-endian. */
export function noiseNonce(counter: number): Buffer {
  if (!Number.isSafeInteger(counter)) throw new BugError("counter-spent", "cannot seal: the message counter is spent");
  const nonce = Buffer.alloc(AEAD_NONCE_BYTES);
  nonce.writeUInt32BE(Math.floor(counter / 2 ** 32), 4);
  nonce.writeUInt32BE(counter % 2 ** 32, 8);
  return nonce;
}

/** The two transport keys at the end of a handshake: the first is for messages of the initiator (section 5.2). */
export interface TransportKeys {
  readonly initiator: Buffer;
  readonly responder: Buffer;
}

/**
 * CipherState and SymmetricState of the Noise Protocol Framework (revision 34, sections 5.1 and 5.2) for AESGCM and
 * SHA256. After a method throws, the state is of no more use.
 */
export class NoiseState {
  #chainingKey: Buffer;
  #hash: Buffer;
  #key: Buffer | undefined;
  #counter = 0;

  constructor(protocolName: string, prologue: Uint8Array) {
    const name = Buffer.from(protocolName, "latin1");
    this.#hash = name.length > 32 ? sha256(name) : Buffer.concat([name], 32);
    this.#chainingKey = Buffer.from(this.#hash);
    this.mixHash(prologue);
  }

  /** The hash of all that both sides saw so far; at the end the channel binding (section 11.2). */
  get hash(): Buffer {
    return this.#hash;
  }

  mixHash(data: Uint8Array): void {
    this.#hash = sha256(Buffer.concat([this.#hash, data]));
  }

  /** Takes a shared secret in, and wipes it. */
  mixKey(secret: Buffer): void {
    const [chainingKey, key] = hkdf2(this.#chainingKey, secret);
    secret.fill(0);
    this.#chainingKey.fill(0);
    this.#chainingKey = chainingKey;
    this.#key?.fill(0);
    this.#key = key;
    this.#counter = 0;
  }

  /** Sealed once there is a key, in clear before. */
  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const out = this.#key ? aeadSeal(this.#key, noiseNonce(this.#counter++), this.#hash, plaintext) : plaintext;
    this.mixHash(out);
    return out;
  }

  /** Reverses `encryptAndHash`. Throws ProtocolError `bad-seal`. */
  decryptAndHash(data: Uint8Array): Uint8Array {
    const out = this.#key ? aeadOpen(this.#key, noiseNonce(this.#counter++), this.#hash, data) : data;
    this.mixHash(data);
    return out;
  }

  /** Whether payloads are sealed by now. */
  get keyed(): boolean {
    return this.#key !== undefined;
  }

  /** The transport keys; wipes everything else. */
  split(): TransportKeys {
    const [initiator, responder] = hkdf2(this.#chainingKey, EMPTY);
    this.wipe();
    return { initiator, responder };
  }

  /** Overwrites every key in it: it is of no more use. */
  wipe(): void {
    this.#chainingKey.fill(0);
    this.#key?.fill(0);
  }
}

/** HKDF of section 4.3 with two outputs, which is RFC 5869 without info. */
function hkdf2(chainingKey: Uint8Array, input: Uint8Array): readonly [Buffer, Buffer] {
  const both = hkdfSha256(input, chainingKey, EMPTY, 64);
  return [both.subarray(0, 32), both.subarray(32)];
}
