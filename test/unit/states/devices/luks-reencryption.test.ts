import { expect, test } from "vitest";
import { reencryptedBytes } from "../../../../src/states/devices/luks-reencryption.ts";

const segments = (first: string, hot: unknown) => ({
  segments: { "0": { offset: first }, "1": { offset: hot as string, flags: ["in-reencryption"] } },
});

test("what is re-encrypted lies between the first segment and the one under way", () => {
  expect(reencryptedBytes(segments("1000", "5000"))).toBe(4000);
  expect(reencryptedBytes({})).toBe(0);
});

test.each(["x", null, "1e999", "-5", [], undefined])("a header whose segment begins at %j says nothing", (offset) => {
  expect(reencryptedBytes(segments("1000", offset))).toBe(0);
  expect(reencryptedBytes(segments(offset as string, "5000"))).toBeOneOf([0, 5000]);
});
