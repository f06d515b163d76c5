import { expect, test } from "vitest";
import { readLuksId, readLuksInteger, readLuksNumber } from "../../../src/core/luks-number.ts";

const NO_NUMBERS = [
  "",
  "-11",
  "+1",
  "1e3",
  "0x10",
  "0b1",
  " 7",
  "7 ",
  "7\n",
  "007",
  "1.0",
  "1_0",
  "١",
  "Infinity",
  "NaN",
  "9007199254740992",
  "18446744073709551615",
  7,
  -0,
  null,
  true,
  ["7"],
  { "7": 7 },
  undefined,
] as const;

test.each(NO_NUMBERS)("%j is no number of a header's text", (value) => {
  expect(readLuksNumber(value)).toBeUndefined();
});

test("numbers in a header's text are read exactly", () => {
  expect(["0", "7", "16777216", "9007199254740991"].map(readLuksNumber)).toEqual([
    0,
    7,
    16_777_216,
    Number.MAX_SAFE_INTEGER,
  ]);
});

test.each(["512", -1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, null, true, [512]])(
  "%j is no number of a header's JSON",
  (value) => {
    expect(readLuksInteger(value)).toBeUndefined();
  },
);

test("entries of a header have the numbers 0 to 31, each by one name", () => {
  const names = ["0", "9", "31", "32", "1e1", "07", "", " 1", "a", "__proto__"];
  expect(names.map(readLuksId)).toEqual([0, 9, 31, ...names.slice(3).map(() => undefined)]);
  expect(readLuksInteger(512)).toBe(512);
});
