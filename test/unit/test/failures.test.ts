import { expect, test } from "vitest";
import { failuresText } from "../../failures.ts";
import { resultOf } from "../../tiers.ts";

const ROOT = new URL("../../..", import.meta.url).pathname;

interface ReportedTest {
  readonly fullName: string;
  readonly status: string;
  readonly failureMessages: readonly string[];
}

const passing: ReportedTest = { fullName: " a works", status: "passed", failureMessages: [] };
const failing: ReportedTest = {
  fullName: " I2: b fails",
  status: "failed",
  failureMessages: [
    "AssertionError: expected \u001B[31m1\u001B[39m to be 2\n" +
      `    at check (${ROOT}test/x.test.ts:3:1)\n` +
      "    at run (/p/node_modules/vitest/dist/index.js:1:1)\n" +
      "    at process.processTicks (node:internal/process:1:1)",
  ],
};

const fileOf = (tests: readonly ReportedTest[], more: { readonly status: string; readonly message?: string }) => ({
  name: `${ROOT}test/contract/x.test.ts`,
  message: "",
  assertionResults: tests,
  ...more,
});

function reportOf(file: ReturnType<typeof fileOf>): string {
  const count = (status: string) => file.assertionResults.filter((one) => one.status === status).length;
  return JSON.stringify({
    numPassedTests: count("passed"),
    numFailedTests: count("failed"),
    numPendingTests: 0,
    numTodoTests: 0,
    success: file.status === "passed",
    testResults: [file],
  });
}

const textOf = (tier: string, report: string) => failuresText([{ tier, failures: resultOf(report).failures }]);

test("a failed test is told by tier, file, full name and the first lines of its message, without colours and foreign frames", () => {
  const report = reportOf(fileOf([passing, failing], { status: "failed" }));
  expect(resultOf(report)).toMatchObject({ passed: 1, failed: 1, skipped: 0 });
  expect(textOf("contract", report)).toBe(
    [
      "FAILED contract test/contract/x.test.ts: I2: b fails",
      "    AssertionError: expected 1 to be 2",
      `        at check (${ROOT}test/x.test.ts:3:1)`,
    ].join("\n"),
  );
});

test("a long message is cut after 15 lines and says so, a long line after 400 characters", () => {
  const message = ["x".repeat(1000), ...Array.from({ length: 29 }, (_, line) => `line ${line + 2}`)].join("\n");
  const lines = failuresText([{ tier: "unit", failures: [{ name: "n", file: "f", message }] }]).split("\n");
  expect(lines).toHaveLength(17);
  expect(lines[1]).toHaveLength(404);
  expect(lines.slice(-2)).toEqual(["    line 15", "    … 15 more lines above"]);
});

test("a file that failed without a failed test counts as one failure, with what vitest says of it", () => {
  const report = reportOf(fileOf([passing], { status: "failed", message: "cannot load it" }));
  expect(resultOf(report)).toMatchObject({ passed: 1, failed: 1 });
  expect(textOf("cli", report)).toBe(
    "FAILED cli test/contract/x.test.ts: the file itself, or a hook of it\n    cannot load it",
  );
});

test("nothing failed, nothing said; tiers follow each other, one without a file too", () => {
  expect(textOf("unit", reportOf(fileOf([passing], { status: "passed" })))).toBe("");
  const broken = { name: "ended early", message: "panic" };
  const two = [
    { tier: "unit", failures: [{ name: "n", file: "f", message: "m" }] },
    { tier: "kernel", failures: [broken] },
  ];
  expect(failuresText(two)).toBe("FAILED unit f: n\n    m\n\nFAILED kernel: ended early\n    panic");
});
