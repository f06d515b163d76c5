import { expect, test } from "vitest";
import { isWrittenWhole, reencryptedBytes } from "../../../../src/states/devices/luks-reencryption.ts";

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

/** As cryptsetup 2.6.1 leaves a header: digest 1 is the old volume key's, digest 0 the new one's. */
const left = (live: Record<string, { flags?: string[] }>, previous: string[], final: string[]) => ({
  segments: { ...live, "2": { flags: ["backup-previous"] }, "3": { flags: ["backup-final"] } },
  digests: { "0": { segments: final }, "1": { segments: previous } },
});

test.each([
  ["cut after the last piece, before its end", left({ "0": {} }, ["2"], ["0", "3"]), true],
  ["begun, nothing written", left({ "0": {} }, ["0", "2"], ["3"]), false],
  ["written in part", left({ "0": {}, "1": {} }, ["1", "2"], ["0", "3"]), false],
  ["cut in its only piece", left({ "0": { flags: ["in-reencryption"] } }, ["2"], ["0", "3"]), false],
  ["none under way", { segments: { "0": {} }, digests: { "0": { segments: ["0"] } } }, false],
  ["garbage", { segments: [], digests: "x" }, false],
])("a header is written whole: %s", (_, metadata, expected) => {
  expect(isWrittenWhole(metadata)).toBe(expected);
});
