import { describe, expect, test } from "vitest";
import { type Exception, EXCEPTIONS, type Expected } from "./exceptions.ts";
import { runCase } from "./run-case.ts";
import { isCycle, saltCases, type SaltRun } from "./salt-cases.ts";

interface Row {
  readonly id: string;
  readonly fun: string;
  readonly result: boolean | null;
  readonly changed: boolean;
  readonly ran?: boolean;
}

function outcome({ fun, result, changed, ran = true }: Row): readonly [string, string] {
  return [fun, `${result}${changed ? " changed" : ""}${ran ? "" : " not run"}`];
}

function expectedRows(salt: SaltRun, mode: "apply" | "test", exception: Partial<Exception>): Expected {
  const { outcomes = {}, order } = exception;
  if (exception.rows) {
    return exception.rows[mode].split(", ").map((row) => [row.split(" ", 1).join(""), row.slice(row.indexOf(" ") + 1)]);
  }
  const rows = (salt.rows ?? []).map((row) => [row.id, outcomes[row.id] ?? outcome(row)[1]] as const);
  return order ? rows.toSorted(([one], [other]) => order.indexOf(one) - order.indexOf(other)) : rows;
}

/** The error that must be, undefined where the case runs. */
function expectedError(salt: SaltRun, exception: Exception | undefined): RegExp | undefined {
  if (exception) return exception.error;
  if (isCycle(salt)) return /requisites go round in a cycle: .+ -> /u;
  return salt.rows === null ? /./u : undefined;
}

/** Salt's exit status; where an exception has errors or rows of its own, what Salt gives such a run. */
function expectedRetcode(
  salt: SaltRun,
  rows: Expected,
  error: RegExp | undefined,
  exception: Exception | undefined,
): number {
  if (error) return 1;
  if (!exception?.rows) return salt.retcode;
  return rows.some(([, result]) => result.startsWith("false")) ? 2 : 0;
}

/** Cases that run a command as root: another user may not. */
const AS_ROOT = new Set(["probe_cmd_run_results"]);

describe.each(["apply", "test"] as const)("%s", (mode) => {
  const cases = saltCases().filter(({ name }) => EXCEPTIONS[name]?.unusable !== true || EXCEPTIONS[name].mode !== mode);

  test.for(cases)("$name does what Salt does", async (salted, { skip }) => {
    const cannot = AS_ROOT.has(salted.name) && mode === "apply" && process.getuid?.() !== 0;
    skip(cannot, "only root can run a command as root");
    const ours = await runCase(salted, mode === "test");
    const salt = salted.salt[mode];
    const found = EXCEPTIONS[salted.name];
    const exception = found?.mode === undefined || found.mode === mode ? found : undefined;
    const error = expectedError(salt, exception);
    expect(ours.errors.join("\n")).toMatch(error ?? /^$/u);
    const expected = error ? [] : expectedRows(salt, mode, exception ?? {});
    expect(ours.rows.map((row) => [row.id, outcome(row)[1]])).toEqual(expected);
    expect(ours.retcode).toBe(expectedRetcode(salt, expected, error, exception));
    expect(ours.rows.map(({ fun }) => fun).sort()).toEqual(error ? [] : (salt.rows ?? []).map(({ fun }) => fun).sort());
  });
});

test("no exception is about a case that is not there", () => {
  const names = new Set(saltCases().map(({ name }) => name));
  expect(Object.keys(EXCEPTIONS).filter((name) => !names.has(name))).toEqual([]);
});
