import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../../../src/core/json.ts";
import type { LuksHeader } from "../../../../src/states/devices/luks-header.ts";
import { findLuksToken, formatLuksToken, type LuksToken } from "../../../../src/states/devices/luks-token.ts";

const TOKEN: LuksToken = {
  state: "committed",
  machine: [
    { slot: 0, version: 3 },
    { slot: 2, version: 4 },
  ],
  volume: "data",
  made: 1_700_000_000_000,
};

const headerWith = (tokens: JsonObject, keyslots: JsonObject = { 0: {}, 1: {}, 2: {} }): LuksHeader => ({
  version: 2,
  uuid: "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab",
  label: "",
  sequence: 3,
  metadata: { keyslots, tokens },
  atStart: true,
});
const json = (token: LuksToken): JsonObject => JSON.parse(formatLuksToken(token)) as JsonObject;

test("the JSON in the header, byte for byte", () => {
  expect(formatLuksToken(TOKEN)).toBe(
    '{"type":"latchkey","keyslots":["0","2"],"state":"committed","machine":[{"slot":0,"version":3},{"slot":2,"version":4}],"volume":"data","made":1700000000000}',
  );
});

test("what is written reads back, beside the tokens of others", () => {
  const finding = findLuksToken(headerWith({ 0: { type: "clevis", keyslots: ["1"], jwe: {} }, 5: json(TOKEN) }));
  expect(finding).toEqual({ kind: "valid", id: 5, token: TOKEN });
  expect(findLuksToken(headerWith({ 0: { type: "clevis", keyslots: ["1"] } }))).toEqual({ kind: "none" });
  expect(findLuksToken({ ...headerWith({}), metadata: {} })).toEqual({ kind: "none" });
});

test("a slot that cryptsetup killed is no machine slot any more, even when its number is in use again", () => {
  const killed = { ...json(TOKEN), keyslots: ["2"] };
  expect(findLuksToken(headerWith({ 0: killed }))).toMatchObject({ token: { machine: [{ slot: 2, version: 4 }] } });
  const gone = headerWith({ 0: json(TOKEN) }, { 0: {} });
  expect(findLuksToken(gone)).toMatchObject({ token: { machine: [{ slot: 0, version: 3 }] } });
});

test.each([
  ["a state that is none", { state: "done" }],
  ["a slot that cannot be", { machine: [{ slot: 32, version: 1 }] }],
  ["a version that cannot be", { machine: [{ slot: 0, version: 0 }] }],
  ["a field that nobody knows", { note: "x" }],
  ["no list of keyslots", { keyslots: "0" }],
])("a token with %s is damaged, and a sound one beside it counts", (_, field) => {
  const damaged: JsonObject = { ...json(TOKEN), ...field };
  expect(findLuksToken(headerWith({ 3: damaged }))).toEqual({ kind: "damaged", id: 3 });
  expect(findLuksToken(headerWith({ 3: damaged, 4: json(TOKEN) }))).toMatchObject({ kind: "valid", id: 4 });
});

test("any JSON in the header's place of tokens is read without harm", () => {
  const fields = fc.dictionary(fc.constantFrom("keyslots", "state", "machine", "volume", "made"), fc.jsonValue());
  const survives = fc.property(fc.jsonValue(), fields, (value, ours) => {
    const tokens = { 0: value, 1: { ...ours, type: "latchkey" } } as JsonObject;
    return ["none", "damaged", "valid"].includes(findLuksToken(headerWith(tokens)).kind);
  });
  expect(() => fc.assert(survives)).not.toThrow();
});
