import * as fc from "fast-check";
import { expect } from "vitest";
import { signingKeyFromSeed, verifyQuickly, verifySignature } from "../../../../src/core/crypto/ed25519.ts";

/** Public keys of low order, hex (https://cr.yp.to/ecdh.html#validate). */
export const LOW_ORDER = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
];

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

/** Whatever verifies quickly says what `verifySignature` says: of signatures right and changed, of another key, of wrong length. */
export async function quickAnswersAreTheSame(): Promise<void> {
  const message = fc.uint8Array({ maxLength: 500 });
  await fc.assert(
    fc.asyncProperty(bytes(32), bytes(32), message, fc.nat(63), fc.nat(255), async (seed, other, text, at, flip) => {
      const key = signingKeyFromSeed(seed);
      const signature = key.sign(text);
      signature[at] = (signature[at] ?? 0) ^ flip;
      const asked = verifyQuickly(key.publicKey, text, signature);
      const isValid = verifySignature(key.publicKey, text, signature);
      // what becomes of the bytes meanwhile changes nothing
      text.fill(0);
      signature.fill(0);
      expect(await asked).toBe(isValid);
      expect(isValid).toBe(flip === 0);
      expect(await verifyQuickly(other, text, key.sign(text))).toBe(verifySignature(other, text, key.sign(text)));
    }),
  );
  const key = signingKeyFromSeed(new Uint8Array(32));
  expect(await verifyQuickly(new Uint8Array(31), new Uint8Array(1), new Uint8Array(64))).toBe(false);
  expect(await verifyQuickly(key.publicKey, new Uint8Array(1), new Uint8Array(63))).toBe(false);
}
