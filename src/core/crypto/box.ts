import nacl from "tweetnacl";
import { ProtocolError } from "../errors.ts";
import type { DhKey } from "./x25519.ts";

/** The part of tweetnacl below its typed surface that lets us own, and wipe, every buffer with plaintext in it. */
interface LowLevel {
  crypto_core_hsalsa20(out: Uint8Array, input: Uint8Array, key: Uint8Array, constant: Uint8Array): number;
  crypto_secretbox(out: Uint8Array, message: Uint8Array, length: number, nonce: Uint8Array, key: Uint8Array): number;
  crypto_secretbox_open(out: Uint8Array, box: Uint8Array, length: number, nonce: Uint8Array, key: Uint8Array): number;
}
const { lowlevel } = nacl as typeof nacl & { readonly lowlevel: LowLevel };

export const BOX_NONCE_BYTES = 24;
export const BOX_OVERHEAD_BYTES = 16;
const LEAD = 32; // zero bytes that NaCl's C interface wants before the message
const BOX_LEAD = 16;
const SIGMA = Buffer.from("expand 32-byte k", "latin1");
const ZERO_16 = Buffer.alloc(16);

/**
 * A NaCl box (X25519, XSalsa20, Poly1305): the same bytes as `nacl.box`, with the curve arithmetic done by OpenSSL. All
 * buffers with plaintext or key in them are wiped except the caller's. Throws ProtocolError `weak-key`.
 */
export function sealBox(message: Uint8Array, nonce: Uint8Array, publicKey: Uint8Array, secretKey: DhKey): Buffer {
  const key = boxKey(publicKey, secretKey);
  const padded = Buffer.alloc(LEAD + message.length);
  padded.set(message, LEAD);
  const out = Buffer.allocUnsafeSlow(padded.length).fill(0);
  lowlevel.crypto_secretbox(out, padded, padded.length, nonce, key);
  padded.fill(0);
  key.fill(0);
  return out.subarray(BOX_LEAD);
}

/**
 * Opens a NaCl box: the message in a buffer of its own, for the caller to wipe. Throws ProtocolError `bad-box` when it
 * was not made by and for these keys, `weak-key`.
 */
export function openBox(box: Uint8Array, nonce: Uint8Array, publicKey: Uint8Array, secretKey: DhKey): Buffer {
  if (box.length < BOX_OVERHEAD_BYTES || nonce.length !== BOX_NONCE_BYTES) {
    throw new ProtocolError("bad-box", "cannot open a box: it is too short");
  }
  const key = boxKey(publicKey, secretKey);
  const padded = Buffer.alloc(BOX_LEAD + box.length);
  padded.set(box, BOX_LEAD);
  const out = Buffer.allocUnsafeSlow(padded.length).fill(0);
  const status = lowlevel.crypto_secretbox_open(out, padded, padded.length, nonce, key);
  key.fill(0);
  if (status !== 0) throw new ProtocolError("bad-box", "cannot open a box: it was not made by and for these keys");
  return out.subarray(LEAD);
}

function boxKey(publicKey: Uint8Array, secretKey: DhKey): Buffer {
  const shared = secretKey.agree(publicKey);
  const key = Buffer.alloc(32);
  lowlevel.crypto_core_hsalsa20(key, ZERO_16, shared, SIGMA);
  shared.fill(0);
  return key;
}
