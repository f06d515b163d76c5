import { readFile } from "node:fs/promises";
import { ConfigError } from "../../core/errors.ts";
import type { PolicyTestResult } from "../../core/release-api.ts";
import { globMatcher } from "../../sls/glob.ts";
import { parseYaml } from "../../sls/yaml.ts";
import { readPolicy } from "../release/policy-file.ts";
import { readCases, runCases } from "./cases.ts";

async function read(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new ConfigError("no-such-file", `cannot read ${what} "${file}"`, { cause, facts: { file } });
  }
}

/** Runs the cases of a file against a policy file. Throws ConfigError for either that cannot be used. */
export async function testPolicyFile(policyFile: string, casesFile: string): Promise<readonly PolicyTestResult[]> {
  const policy = readPolicy(await read(policyFile, "the release policy"), policyFile);
  const cases = readCases(parseYaml(await read(casesFile, "the policy's cases"), casesFile));
  return runCases(policy, cases, (glob, id) => globMatcher(glob)(id)).map(
    ({ name, passed, difference, decision }, index) => ({
      name,
      passed,
      difference,
      wanted: cases[index]?.verdict ?? "",
      got: decision.verdict,
      rule: decision.rule ?? "",
    }),
  );
}
