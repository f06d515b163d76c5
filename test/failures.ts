import { relative } from "node:path";
import { stripVTControlCharacters } from "node:util";

/** One test that failed, or what failed instead of a test: a file that does not load, a tier that ended early. */
export interface Failure {
  /** The test's full name; of a file that failed as a whole, or of a tier, what happened to it. */
  readonly name: string;
  /** Where the test stands, from the project's root; absent when that is not known. */
  readonly file?: string;
  readonly message: string;
}

/** The failures of one tier. */
export interface TierFailures {
  readonly tier: string;
  readonly failures: readonly Failure[];
}

/** The part of vitest's JSON report that tells what failed. */
export interface ReportedFiles {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

const MESSAGE_LINES = 15;
const LINE_CHARACTERS = 400;

/** Every failed test of vitest's JSON report; a file that failed without a failed test is one failure of its own. */
export function failuresOf({ testResults }: ReportedFiles, root: string): readonly Failure[] {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(root, name);
    const failed = assertionResults
      .filter((test) => test.status === "failed")
      .map((test) => ({ name: test.fullName.trim(), file, message: (test.failureMessages ?? []).join("\n") }));
    const whole = status === "failed" && failed.length === 0;
    return whole ? [{ name: "the file itself, or a hook of it", file, message }] : failed;
  });
}

/** The first lines of a message without colours and without the frames of other people's code. */
function shorten(message: string): readonly string[] {
  const lines = stripVTControlCharacters(message)
    .split("\n")
    .filter((line) => line.trim() !== "" && !/^\s+at .*(?:node_modules\/|\(?node:)/u.test(line));
  const shown = lines.slice(0, MESSAGE_LINES).map((line) => line.slice(0, LINE_CHARACTERS));
  return lines.length > MESSAGE_LINES ? [...shown, `… ${lines.length - MESSAGE_LINES} more lines above`] : shown;
}

/** What failed in all tiers, for the end of a log: tier, file, full name and the first lines of each message; "" for nothing. */
export function failuresText(tiers: readonly TierFailures[]): string {
  const blocks = tiers.flatMap(({ tier, failures }) =>
    failures.map(({ name, file, message }) => {
      const where = file === undefined ? tier : `${tier} ${file}`;
      return [`FAILED ${where}: ${name}`, ...shorten(message).map((line) => `    ${line}`)].join("\n");
    }),
  );
  return blocks.join("\n\n");
}
