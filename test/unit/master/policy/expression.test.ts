import { expect, test } from "vitest";
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
