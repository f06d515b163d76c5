import * as fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { jsonItems, MAX_JSON_DEPTH, readJson } from "../../../src/core/json.ts";
import { jsonObjectSchema, jsonSchema } from "../../../src/core/json-schema.ts";

test("a value is JSON exactly when the schema library says so, but for prototypes as keys", () => {
  const key = fc.stringMatching(/^[a-z]{0,3}$/u);
  const anything = fc.anything({
    key,
    withDate: true,
    withBigInt: true,
    withTypedArray: true,
    withNullPrototype: true,
  });
  // with that name as a key it is refused here, see below
  const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('"__proto__"'));
  const oracle = z.json();
  fc.assert(
    fc.property(fc.oneof(anything, json), (value) => {
      expect(jsonSchema.safeParse(value).success).toBe(oracle.safeParse(value).success);
    }),
    { numRuns: 1000 },
  );
});

test.each([
  [null, 1],
  [[], 1],
  [{}, 1],
  [[1, "two", [true]], 5],
  [{ a: { b: [1, 2] }, c: "" }, 9],
])("%j has %d items", (value, items) => {
  expect(jsonItems(value)).toBe(items);
});

test("a list of 150,000 byte strings is one fault, and deep nesting takes no stack", () => {
  const found = jsonSchema.safeParse(Array.from({ length: 150_000 }, () => new Uint8Array()));
  expect(found.error?.issues).toHaveLength(1);
  let deep: unknown = [];
  for (let i = 0; i < 100_000; i += 1) deep = [deep];
  expect(jsonItems(deep)).toBeUndefined();
});

test("what is nested deeper than a message may be is no JSON of ours, from whatever text", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}1${"]".repeat(depth)}`;
  expect(jsonItems(JSON.parse(nested(MAX_JSON_DEPTH)))).toBe(MAX_JSON_DEPTH + 1);
  expect(jsonItems(JSON.parse(nested(MAX_JSON_DEPTH + 1)))).toBeUndefined();
  expect(readJson(nested(1))).toEqual([1]);
  for (const text of [nested(MAX_JSON_DEPTH + 1), nested(500_000), '{"__proto__":1}', "{", ""]) {
    expect(readJson(text)).toBeUndefined();
  }
});

test("no object with a prototype as a key is JSON", () => {
  expect(jsonItems(JSON.parse('{"a":[{"__proto__":{"b":1}}]}'))).toBeUndefined();
});

test("an object alone is a JSON object", () => {
  const isObject = (value: unknown) => jsonObjectSchema.safeParse(value).success;
  expect([{}, { a: [1] }].every(isObject)).toBe(true);
  expect([[], null, "{}", { a: new Uint8Array() }, { a: undefined }].some(isObject)).toBe(false);
});
