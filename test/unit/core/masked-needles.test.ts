import { randomBytes } from "node:crypto";
import { assert, nat, property, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { maskNeedles } from "../../../src/core/masked-needles.ts";
import { needlesOf } from "../../../src/core/needles.ts";

const key = uint8Array({ minLength: 12, maxLength: 80 });

test("a masked search finds what a plain one finds, where it finds it", () => {
  assert(
    property(key, nat(300), nat(9), (bytes, before, which) => {
      const needle = needlesOf(bytes)[which];
      if (needle === undefined) throw new Error("there are ten forms");
      const place = Buffer.concat([Buffer.alloc(before, 0xa5), needle.bytes, Buffer.alloc(7)]);
      const offset = place.indexOf(needle.bytes);
      expect(maskNeedles(bytes).find(place)).toContainEqual({ form: needle.form, offset });
    }),
  );
});

test("I5: what a masked search keeps holds no form of the key, and it works when the key is wiped", () => {
  const secret = randomBytes(32);
  const copy = Buffer.from(secret);
  const needles = maskNeedles(secret);
  secret.fill(0);
  expect(needles.find(copy)).toEqual([{ form: "raw", offset: 0 }]);
  expect(needles.find(copy.subarray(1))).toEqual([]);
  expect(needles.find(randomBytes(1 << 16))).toEqual([]);
});
