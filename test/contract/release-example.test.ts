import { expect, test } from "vitest";
import { testPolicyFile } from "../../src/master/policy/test-policy.ts";

const example = (name: string) => new URL(`../../examples/${name}`, import.meta.url).pathname;

test("the worked release policy does what its cases say", async () => {
  const results = await testPolicyFile(example("release.yaml"), example("release.test.yaml"));
  expect(results.length).toBeGreaterThan(10);
  expect(results.filter(({ passed }) => !passed)).toEqual([]);
});
