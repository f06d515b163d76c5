import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { command } from "../lab/command.ts";
import { type Failure, failuresOf, type ReportedFiles } from "./failures.ts";

/** How a tier ended. `skipped` counts tests that did not run; they never count as passed. */
export interface TierCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** How a tier ended, and what of it failed: at least one entry when `failed` is not 0. */
export interface TierResult extends TierCounts {
  readonly failures: readonly Failure[];
}

interface VitestReport extends ReportedFiles {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
}

const PROJECT = resolve(import.meta.dirname, "..");
const VITEST = join(PROJECT, "node_modules/vitest/vitest.mjs");

/** A tier that failed as a whole, for the reason given. */
export const brokenTier = (what: string, message: string): TierResult => ({
  passed: 0,
  failed: 1,
  skipped: 0,
  failures: [{ name: what, message }],
});

const TAIL_CHARACTERS = 8000;

/**
 * Passes on what a child prints, and keeps the end of it for when nothing else tells why the child failed. With a label,
 * which every line gets, only whole lines are passed on: several children may print at once.
 */
export function showOutput(output: Readable, label = ""): { readonly lastLines: () => string } {
  let tail = "";
  let line = "";
  output.setEncoding("utf8").on("data", (text: string) => {
    tail = (tail + text).slice(-TAIL_CHARACTERS);
    if (label === "") {
      process.stdout.write(text);
      return;
    }
    const lines = (line + text).split("\n");
    line = lines.pop() ?? "";
    for (const whole of lines) if (whole.trim() !== "") process.stdout.write(`${label}${whole}\n`);
  });
  return { lastLines: () => tail.trimEnd().split("\n").slice(-15).join("\n") };
}

/**
 * Runs one vitest project, its output going where ours goes, and counts. What keeps tests from being counted at all (a file
 * that does not load, a crash, the deadline) counts as one failure.
 */
export async function runVitest(
  tier: string,
  flags: readonly string[] = [],
  deadlineMs = 600_000,
): Promise<TierResult> {
  const report = join(tmpdir(), `latchkey-${tier}-${process.pid}.json`);
  const reporters = ["--reporter=json", `--outputFile.json=${report}`];
  const child = spawn(process.execPath, [VITEST, "run", "--project", tier, ...reporters, ...flags], {
    cwd: PROJECT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}) },
  });
  const [shown, complaints] = [showOutput(child.stdout), showOutput(child.stderr)];
  const timer = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
  await once(child, "close");
  clearTimeout(timer);
  const how = `vitest ended with ${child.signalCode ?? `status ${child.exitCode}`}`;
  const said = () => [complaints.lastLines(), shown.lastLines()].filter(Boolean).join("\n");
  try {
    if (!existsSync(report)) return brokenTier(`${how} and wrote no report`, said());
    const result = resultOf(readFileSync(report, "utf8"));
    if (child.exitCode === 0 || result.failed > 0) return result;
    return { ...result, ...failedOnce([{ name: `${how} although no test failed`, message: said() }]) };
  } finally {
    rmSync(report, { force: true });
  }
}

const failedOnce = (failures: readonly Failure[]) => ({ failed: 1, failures });

/** What vitest's JSON report says. A file that does not even load, or whose hook failed, has failed without a failed test. */
export function resultOf(text: string): TierResult {
  const report = JSON.parse(text) as VitestReport;
  const counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  };
  const failures = failuresOf(report, PROJECT);
  if (report.success || counts.failed > 0) return { ...counts, failures };
  return { ...counts, ...failedOnce(failures) };
}

/** What several results are together. */
export const sumOf = (results: readonly TierResult[]): TierResult => ({
  passed: results.reduce((sum, { passed }) => sum + passed, 0),
  failed: results.reduce((sum, { failed }) => sum + failed, 0),
  skipped: results.reduce((sum, { skipped }) => sum + skipped, 0),
  failures: results.flatMap(({ failures }) => failures),
});

/** A tier that cannot run here: all its tests count as skipped. */
export async function skipTier(tier: string): Promise<TierResult> {
  const { stdout } = await command([process.execPath, VITEST, "list", "--project", tier, "--json"], { cwd: PROJECT });
  const tests = JSON.parse(stdout.slice(stdout.indexOf("["))) as readonly unknown[];
  return { passed: 0, failed: 0, skipped: tests.length, failures: [] };
}
