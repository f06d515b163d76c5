import { describe, expect, test } from "vitest";
import { parseArguments, parseDuration, parseValue } from "../../../src/cli/arguments.ts";
import type { Json } from "../../../src/core/json.ts";

describe("a word as a value", () => {
  test.each<[string, Json]>([
    ["3", 3],
    ["-1.5", -1.5],
    ["1e3", 1000],
    ["0644", "0644"],
    ["20261122160047123456", "20261122160047123456"],
    ["1e999", "1e999"],
    ["true", true],
    ["False", false],
    ["~", null],
    ["null", null],
    ["yes", "yes"],
    ["", ""],
    ['["a", 1]', ["a", 1]],
    ['{"a": null}', { a: null }],
    ['"3"', "3"],
    ["[ -f /etc/passwd ]", "[ -f /etc/passwd ]"],
  ])("%j", (word, value) => {
    expect(parseValue(word)).toEqual(value);
  });
});

test("key=value is a keyword wherever it stands; other words keep their order", () => {
  expect(parseArguments(["a", "x=1", "b=c=d", "2", "=y", "a==b"])).toEqual({
    args: ["a", 2, "=y", "a==b"],
    kwargs: { x: 1, b: "c=d" },
  });
});

test("a keyword never reaches a prototype", () => {
  const { kwargs } = parseArguments(["__proto__=1", 'constructor={"a":1}']);
  expect(Object.keys(kwargs)).toEqual(["__proto__", "constructor"]);
  expect(Object.getPrototypeOf(kwargs)).toBe(Object.prototype);
});

describe("a duration", () => {
  test.each([
    ["30", 30_000],
    ["0.5", 500],
    ["250ms", 250],
    ["2m", 120_000],
    ["1h", 3_600_000],
  ])("%s", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  test.each(["", "0", "-1", "1d", "5 s", "x", "9999999999999999999h"])("%j is refused", (text) => {
    expect(() => parseDuration(text)).toThrow("cannot read duration");
  });
});
