import { expect, test } from "vitest";
import { randomNonce } from "../../../../src/core/crypto/random.ts";

test("nonces have the length that was asked for, are never given twice, and share no memory", () => {
  const nonces = Array.from({ length: 2000 }, (_, at) => randomNonce(at % 3 === 0 ? 24 : 8));
  for (const [at, nonce] of nonces.entries()) expect(nonce).toHaveLength(at % 3 === 0 ? 24 : 8);
  const texts = nonces.map((nonce) => nonce.toString("hex"));
  expect(new Set(texts).size).toBe(nonces.length);
  for (const nonce of nonces) nonce.fill(0);
  expect(randomNonce(24).equals(Buffer.alloc(24))).toBe(false);
  expect(randomNonce(5000)).toHaveLength(5000);
});
