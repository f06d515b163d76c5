import * as fc from "fast-check";
import nacl from "tweetnacl";
import { expect, test } from "vitest";
import { openBox, sealBox } from "../../../../src/core/crypto/box.ts";
import { signingKeyFromSeed, verifySignature } from "../../../../src/core/crypto/ed25519.ts";
import { openSealed, SECRET_BLOCK_BYTES, sealSecret } from "../../../../src/core/crypto/sealed-secret.ts";
import { dhKeyFromSecret, generateDhKey } from "../../../../src/core/crypto/x25519.ts";
import { LOW_ORDER, quickAnswersAreTheSame } from "./curves.ts";
import { Secret } from "../../../../src/core/secret.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const message = fc.uint8Array({ maxLength: 500 });
const few = { numRuns: 25 }; // tweetnacl takes milliseconds a signature
const hex = (data: Uint8Array) => Buffer.from(data).toString("hex");

test("signatures are tweetnacl's byte for byte, and each verifies the other's", () => {
  fc.assert(
    fc.property(bytes(32), message, (seed, text) => {
      const theirs = nacl.sign.keyPair.fromSeed(seed);
      const ours = signingKeyFromSeed(seed);
      const signature = ours.sign(text);
      expect(hex(ours.publicKey)).toBe(hex(theirs.publicKey));
      expect(hex(signature)).toBe(hex(nacl.sign.detached(text, theirs.secretKey)));
      expect(verifySignature(theirs.publicKey, text, signature)).toBe(true);
    }),
    few,
  );
});

test("a changed signature, message or key never verifies, nor do wrong lengths", () => {
  fc.assert(
    fc.property(bytes(32), message, fc.nat(63), fc.integer({ min: 1, max: 255 }), (seed, text, at, flip) => {
      const key = signingKeyFromSeed(seed);
      const signature = key.sign(text);
      signature[at] = (signature[at] ?? 0) ^ flip;
      expect(verifySignature(key.publicKey, text, signature)).toBe(false);
    }),
  );
  const key = signingKeyFromSeed(new Uint8Array(32));
  expect(verifySignature(key.publicKey, new Uint8Array(1), key.sign(new Uint8Array(2)))).toBe(false);
  expect(verifySignature(new Uint8Array(31), new Uint8Array(1), new Uint8Array(64))).toBe(false);
  expect(verifySignature(key.publicKey, new Uint8Array(1), new Uint8Array(63))).toBe(false);
});

test("off the main thread the answers are the same: changed, of wrong length, or of no key at all", async () => {
  await expect(quickAnswersAreTheSame()).resolves.toBeUndefined();
});

test("random bytes as public keys never crash verification", () => {
  fc.assert(
    fc.property(bytes(32), bytes(64), (key, signature) => {
      expect(verifySignature(key, new Uint8Array(3), signature)).toBe(false);
    }),
  );
});

test("agreed keys are tweetnacl's byte for byte", () => {
  fc.assert(
    fc.property(bytes(32), bytes(32), (a, b) => {
      const [ours, theirs] = [dhKeyFromSecret(a), dhKeyFromSecret(b)];
      expect(hex(ours.publicKey)).toBe(hex(nacl.scalarMult.base(a)));
      expect(hex(ours.agree(theirs.publicKey))).toBe(hex(nacl.scalarMult(a, theirs.publicKey)));
    }),
    few,
  );
});

test("a wiped key agrees with nobody any more", () => {
  const [key, other] = [generateDhKey(), generateDhKey()];
  key.wipe();
  key.wipe();
  expect(() => key.agree(other.publicKey)).toThrow(expect.objectContaining({ code: "key-wiped" }));
});

test.each(LOW_ORDER)("a key of low order is refused: %s", (point) => {
  expect(() => generateDhKey().agree(Buffer.from(point, "hex"))).toThrow(/cannot agree on a key/u);
});

test("boxes are tweetnacl's byte for byte, and open only for the right keys", () => {
  fc.assert(
    fc.property(bytes(32), bytes(32), bytes(24), message, (a, b, nonce, text) => {
      const [ours, theirs] = [dhKeyFromSecret(a), dhKeyFromSecret(b)];
      const box = sealBox(text, nonce, theirs.publicKey, ours);
      expect(hex(box)).toBe(hex(nacl.box(text, nonce, theirs.publicKey, a)));
      expect(hex(openBox(box, nonce, ours.publicKey, theirs))).toBe(hex(text));
      expect(() => openBox(box, nonce, ours.publicKey, generateDhKey())).toThrow(/cannot open a box/u);
    }),
    few,
  );
});

test("I5: a sealed secret hides its length, opens to a Secret, and leaves no other trace of success or failure", () => {
  const [master, ephemeral] = [generateDhKey(), generateDhKey()];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (key) => {
      const expected = hex(key);
      using secret = Secret.take(key);
      expect(key.every((byte) => byte === 0)).toBe(true);
      const sealed = sealSecret(secret, master, ephemeral.publicKey);
      expect((sealed.length - 24 - 16) % SECRET_BLOCK_BYTES).toBe(0);
      expect(sealed.length).toBeGreaterThan(SECRET_BLOCK_BYTES);
      using opened = openSealed(sealed, ephemeral, master.publicKey);
      expect(hex(opened.expose())).toBe(expected);
    }),
    few,
  );
});

test("random bytes never open as a sealed secret, and never crash", () => {
  const [master, ephemeral] = [generateDhKey(), generateDhKey()];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (sealed) => {
      expect(() => openSealed(sealed, ephemeral, master.publicKey)).toThrow(/cannot open a box/u);
    }),
  );
});
