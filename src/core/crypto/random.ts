import { randomFillSync } from "node:crypto";

const POOL_BYTES = 4096;
const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/**
 * Random bytes from node's CSPRNG for nonces and names, in a buffer of their own. They are fetched some kilobytes at a time,
 * so do not make keys of them: those are fetched when they are needed.
 */
export function randomNonce(length: number): Buffer {
  if (length > POOL_BYTES) return randomFillSync(Buffer.allocUnsafeSlow(length));
  if (used + length > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const slot = pool.subarray(used, used + length);
  used += length;
  const nonce = Buffer.from(slot);
  slot.fill(0);
  return nonce;
}
