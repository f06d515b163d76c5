import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { equalBytes, hmacSha256 } from "../../../../src/core/crypto/hash.ts";

test("hmac is node's own, for keys shorter and longer than a block", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 150 }), fc.uint8Array({ maxLength: 200 }), (key, data) => {
      expect(hmacSha256(key, data)).toEqual(createHmac("sha256", key).update(data).digest());
    }),
  );
});

test("bytes are equal only with the same length and content", () => {
  expect(equalBytes(Buffer.from("ab"), Buffer.from("ab"))).toBe(true);
  expect(equalBytes(Buffer.from("ab"), Buffer.from("ac"))).toBe(false);
  expect(equalBytes(Buffer.from("ab"), Buffer.from("abc"))).toBe(false);
});
