import { expect, test } from "vitest";
import { compileValidator } from "../../../../src/master/policy/expression.ts";
import { compilePolicy } from "../../../../src/master/policy/rules.ts";

test.each([
  "1 +",
  "nosuch.name == 1",
  "'text'.nosuch()",
  'instance.nmae == "x"',
  'instance["nmae"] == "x"',
  "has(instance.nmae)",
  'request.time > "2020"',
  'request.leasesInDay == "3"',
  "instance.name",
])("expression %s is refused", (validator) => {
  expect(() => compilePolicy({ rules: [{ name: "r", match: { validator } }] })).toThrow(
    expect.objectContaining({ code: "bad-expression" }),
  );
});

test.each(["(", "a{2000}", "(?=a)b", "\\1", "a".repeat(1001)])("pattern %s is refused", (pattern) => {
  const validator = `instance.name.matches(${JSON.stringify(pattern)})`;
  expect(() => compilePolicy({ rules: [{ name: "r", match: { validator } }] })).toThrow(
    expect.objectContaining({ code: "bad-expression" }),
  );
});

/** Patterns that a backtracking matcher needs years for over these texts, or squares of their length. */
const SLOW = ["^(a+)+$", "^(a|a)*$", "(a?){40}a{40}b", "a*a*a*a*a*b", "(.*)(.*)(.*)(.*)x$"];
const WAYS = [
  (pattern: string) => `instance.name.matches(${pattern})`,
  (pattern: string) => `[instance.name].exists(x, x.matches(${pattern}))`,
  (pattern: string) => `[instance.name].all(x, ["y"].exists(y, x.matches(${pattern})))`,
  (pattern: string) => `[instance.name].map(x, x.matches(${pattern})) == [true]`,
  (pattern: string) => `[instance.name].filter(x, x.matches(${pattern})).size() == 1`,
  (pattern: string) => `cel.bind(x, instance.name, x.matches(${pattern}))`,
  (pattern: string) => `(true ? instance.name : "").matches(${pattern})`,
];

test.each(SLOW.flatMap((pattern) => WAYS.map((way) => way(JSON.stringify(pattern)))))(
  "no pattern backtracks: %s",
  (text) => {
    const context = { instance: { name: `${"a".repeat(3000)}!` }, claims: null, request: {} };
    expect(compileValidator(text).evaluate(context)).toEqual({ holds: false });
  },
);
