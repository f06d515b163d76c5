import { describe, expect, test } from "vitest";
import type { Json } from "../../../../src/core/json.ts";
import { CLAIM_LIMITS, claimsForRules } from "../../../../src/master/policy/claims.ts";
import { compileValidator, contextOf } from "../../../../src/master/policy/expression.ts";
import type { ReleaseFacts } from "../../../../src/master/policy/facts.ts";

const facts: ReleaseFacts = {
  minionId: "web1",
  nodegroups: [],
  secret: "disk:password",
  purpose: "open",
  makesKey: false,
  address: "10.1.2.3",
  now: Date.parse("2026-01-07T12:00:00Z"),
  leasesThisBoot: 0,
  opensThisBoot: 0,
  newBoot: true,
  everLeased: false,
  rebootAnnounced: false,
  silentMs: 0,
  cipher: "aes-xts-plain64",
  sectorSize: 4096,
  integrity: "",
  headerKnown: true,
  leasesInDay: 0,
  approvals: [],
  askers: [],
  grains: {},
};
const says = (text: string, grains: Readonly<Record<string, Json>>) =>
  compileValidator(text).evaluate(contextOf({ ...facts, grains }));

const nested = (depth: number): Json => (depth === 0 ? 1 : { a: nested(depth - 1) });
const LARGE: readonly (readonly [string, Json])[] = [
  ["a long text", "a".repeat(CLAIM_LIMITS.characters + 1)],
  ["a long text inside", [{ b: "a".repeat(CLAIM_LIMITS.characters + 1) }]],
  ["a long key", { ["a".repeat(CLAIM_LIMITS.characters + 1)]: 1 }],
  ["many items", Array.from({ length: CLAIM_LIMITS.items }, () => 1)],
  ["many items in many lists", Array.from({ length: 20 }, () => Array.from({ length: 20 }, () => 1))],
  ["deep nesting", nested(CLAIM_LIMITS.depth)],
];

describe.each(LARGE)("a claim of %s", (_title, claim) => {
  test.each([
    "has(instance.grains.q)",
    'instance.grains.q == "x"',
    '!("q" in instance.grains)',
    'instance.grains["q"] == 1',
    'instance.grains.all(k, instance.grains[k] != "x")',
  ])("cannot be told in %s", (text) => {
    expect(says(text, { q: claim })).toEqual({
      problem: expect.stringContaining("larger than rules look at") as string,
    });
  });

  test("leaves the others as they are", () => {
    expect(says('instance.grains.rack == "r1" && !has(instance.grains.other)', { q: claim, rack: "r1" })).toEqual({
      holds: true,
    });
  });
});

test("claims that are too many together are unknown, all of them", () => {
  const many = Object.fromEntries(Array.from({ length: CLAIM_LIMITS.claims + 1 }, (_, n) => [`g${n}`, n]));
  expect(claimsForRules(many)).toBeNull();
  const full = Object.fromEntries(
    Array.from({ length: 20 }, (_, n) => [`g${n}`, Array.from({ length: 250 }, () => 1)]),
  );
  expect(claimsForRules(full)).toBeNull();
  expect(says("has(instance.grains.g1)", many)).toHaveProperty("problem");
});

test("what a claim may just be is looked at", () => {
  const grains = {
    text: "a".repeat(CLAIM_LIMITS.characters),
    list: Array.from({ length: CLAIM_LIMITS.items - 1 }, () => 1),
    deep: nested(CLAIM_LIMITS.depth - 1),
  };
  expect(claimsForRules(grains)).toEqual({ grains, tooLarge: [] });
});
