import * as fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBech32, encodeBech32 } from "../../../src/core/bech32.ts";

const PREFIX = fc.stringMatching(/^[a-z-]{1,12}$/u);

test("decode is the inverse of encode, in either case", () => {
  fc.assert(
    fc.property(PREFIX, fc.uint8Array({ maxLength: 80 }), (prefix, data) => {
      const text = encodeBech32(prefix, data);
      expect([...decodeBech32(prefix, text)]).toEqual([...data]);
      expect([...decodeBech32(prefix, Buffer.from(text.toString().toUpperCase()))]).toEqual([...data]);
    }),
  );
});

test("one changed letter is found", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(57), fc.nat(30), (data, at, by) => {
      const letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
      const text = encodeBech32("age", data);
      const index = 4 + at;
      text[index] = letters.charCodeAt((letters.indexOf(String.fromCharCode(text[index] ?? 0)) + 1 + by) % 32);
      expect(() => decodeBech32("age", text)).toThrow(/damaged/u);
    }),
  );
});

// BIP 173: valid checksums, with the data bytes that they hold
test.each([
  ["a", "A12UEL5L", ""],
  [
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "",
  ],
  ["abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "00443214c74254b635cf84653a56d7c675be77df"],
])("BIP 173 vector with prefix %s", (prefix, text, hex) => {
  expect(decodeBech32(prefix, Buffer.from(text)).toString("hex")).toBe(hex);
  expect(encodeBech32(prefix, Buffer.from(hex, "hex")).toString()).toBe(text.toLowerCase());
});

test.each([
  ["mixed case", "abcdef1QPzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"],
  ["another prefix", "abcdeg1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"],
  ["a letter that is not in the alphabet", "abcdef1bpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"],
  ["no checksum", "abcdef1qqq"],
  ["nothing", ""],
])("%s is refused without repeating the text", (_, text) => {
  expect(() => decodeBech32("abcdef", Buffer.from(text))).toThrow('cannot read a "abcdef1…" text');
});
