import * as fc from "fast-check";
import nacl from "tweetnacl";
import { beforeAll, expect, test } from "vitest";
import { openBox, sealBox } from "../../../../src/core/crypto/box.ts";
import { signingKeyFromSeed, verifyQuickly } from "../../../../src/core/crypto/ed25519.ts";
import { loadSodium, sodium } from "../../../../src/core/crypto/sodium.ts";
import { LOW_ORDER, quickAnswersAreTheSame } from "./curves.ts";
import { type DhKey, dhKeyFromSecret, generateDhKey } from "../../../../src/core/crypto/x25519.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const message = fc.uint8Array({ maxLength: 500 });
const few = { numRuns: 25 }; // tweetnacl takes milliseconds a signature
const hex = (data: Uint8Array) => Buffer.from(data).toString("hex");
const seven = new Uint8Array(32).fill(7);
let before: DhKey;

beforeAll(async () => {
  before = dhKeyFromSecret(seven);
  await loadSodium();
});

test("the optional package is there, or nothing here is shown", () => {
  expect(sodium()).toBeDefined();
});

test("libsodium says of each signature what OpenSSL says: right, changed, of another key, of wrong length", async () => {
  await expect(quickAnswersAreTheSame()).resolves.toBeUndefined();
  const key = signingKeyFromSeed(new Uint8Array(32));
  const empty = new Uint8Array(0);
  expect(await verifyQuickly(key.publicKey, empty, key.sign(empty))).toBe(true);
  // a view into a larger buffer, as what comes off the wire is
  const wire = Buffer.concat([Buffer.alloc(5), key.sign(Buffer.from("text")), Buffer.from("text"), key.publicKey]);
  expect(await verifyQuickly(wire.subarray(73), wire.subarray(69, 73), wire.subarray(5, 69))).toBe(true);
});

test("the lengths of an identity's keys and signatures are all that a verification needs: random bytes are refused", async () => {
  await fc.assert(
    fc.asyncProperty(bytes(32), bytes(64), async (key, signature) => {
      expect(await verifyQuickly(key, new Uint8Array(3), signature)).toBe(false);
    }),
  );
});

test("its public keys and agreed keys are tweetnacl's and OpenSSL's byte for byte", () => {
  fc.assert(
    fc.property(bytes(32), bytes(32), (secret, point) => {
      const ours = dhKeyFromSecret(secret);
      expect(hex(ours.publicKey)).toBe(hex(nacl.scalarMult.base(secret)));
      expect(hex(ours.agree(point))).toBe(hex(nacl.scalarMult(secret, point)));
      const once = generateDhKey();
      expect(hex(ours.agree(once.publicKey))).toBe(hex(once.agree(ours.publicKey)));
      expect(hex(once.agree(before.publicKey))).toBe(hex(before.agree(once.publicKey)));
    }),
    few,
  );
  expect(hex(dhKeyFromSecret(seven).publicKey)).toBe(hex(before.publicKey));
});

test("a wiped key agrees with nobody any more, and wiping it twice is no error", () => {
  for (const key of [generateDhKey(), dhKeyFromSecret(new Uint8Array(32).fill(3))]) {
    const other = generateDhKey();
    key.agree(other.publicKey).fill(0);
    key.wipe();
    key.wipe();
    expect(() => key.agree(other.publicKey)).toThrow(expect.objectContaining({ code: "key-wiped" }));
  }
});

test.each([...LOW_ORDER, "aa".repeat(31)])("a key of low order or of another length is refused: %s", (point) => {
  const key = dhKeyFromSecret(new Uint8Array(32).fill(9));
  expect(() => key.agree(Buffer.from(point, "hex"))).toThrow(
    expect.objectContaining({ code: "weak-key", message: expect.stringMatching(/cannot agree on a key/u) as string }),
  );
});

test("boxes sealed with its keys are tweetnacl's byte for byte", () => {
  fc.assert(
    fc.property(bytes(32), bytes(24), message, (secret, nonce, text) => {
      const [ours, theirs] = [dhKeyFromSecret(secret), generateDhKey()];
      const box = sealBox(text, nonce, theirs.publicKey, ours);
      expect(hex(box)).toBe(hex(nacl.box(text, nonce, theirs.publicKey, secret)));
      expect(hex(openBox(box, nonce, ours.publicKey, theirs))).toBe(hex(text));
    }),
    few,
  );
});
