import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { errorText } from "../../src/core/error-text.ts";
import { kernelLine, type LabKernel } from "../../lab/kernel.ts";
import { ensurePackages, KERNEL_PACKAGES } from "../../lab/packages.ts";
import { brokenTier, resultOf, skipTier, sumOf, type TierResult } from "../tiers.ts";
import { baseEnvironment, readyKernel, run, runInGuest } from "./guest.ts";
import { kernelFiles, sharesOf } from "./shares.ts";

/** A guest stays on one processor and often waits: two on each keep them all busy. */
const MOST_GUESTS = 4;
const GUESTS = Math.min(MOST_GUESTS, availableParallelism() * 2);

/** Whether this machine's own kernel has device-mapper and we may use it. */
function hasDeviceMapper(): boolean {
  if (process.getuid?.() !== 0) return false;
  try {
    closeSync(openSync("/dev/mapper/control", "r+"));
    return true;
  } catch {
    return false;
  }
}

/**
 * Runs the tests of test/kernel in a real kernel: this machine's own where it has device-mapper and we are root, else
 * User-Mode Linux: several guests, each with its share of the files. Prints what vitest prints. `files` narrows the run.
 * Where no kernel can be had it says so loudly and counts every test as skipped.
 */
export async function runKernelTests(files: readonly string[] = kernelFiles()): Promise<TierResult> {
  let kernel: LabKernel | undefined;
  try {
    if (hasDeviceMapper()) await ensurePackages(KERNEL_PACKAGES);
    else kernel = await readyKernel();
  } catch (error) {
    return skip(errorText(error));
  }
  console.log(kernel === undefined ? "tests run on this machine's own kernel" : kernelLine(kernel));
  if (kernel === undefined) return runShare((exchange) => runNatively(exchange, files));
  const guest = kernel;
  const shares = sharesOf(files, GUESTS);
  const results = shares.map((share, index) => {
    const label = shares.length === 1 ? "" : `guest ${index + 1}: `;
    return runShare((exchange) => runInGuest(guest, exchange, [`FILES=${share.join(",")}`], label));
  });
  return sumOf(await Promise.all(results));
}

function skip(because: string): Promise<TierResult> {
  console.error(`\n!! SKIPPED: the kernel tests did not run. ${because}\n`);
  return skipTier("kernel");
}

/** Runs tests that write their results into the directory given; resolves with those, or with a failure that has what was said. */
async function runShare(tests: (exchange: string) => Promise<string>): Promise<TierResult> {
  const exchange = mkdtempSync(join(tmpdir(), "latchkey-kernel-"));
  try {
    const said = await tests(exchange);
    const path = join(exchange, "results.json");
    if (existsSync(path)) return resultOf(readFileSync(path, "utf8"));
    console.error("kernel tests: the kernel ended before vitest had written its results");
    return brokenTier("the kernel ended before vitest had written its results", said);
  } finally {
    rmSync(exchange, { recursive: true, force: true });
  }
}

function runNatively(exchange: string, files: readonly string[]): Promise<string> {
  const results = `--outputFile.json=${join(exchange, "results.json")}`;
  const options = ["--no-file-parallelism", "--pool=threads", "--reporter=default", "--reporter=json", results];
  const env = { ...baseEnvironment(), LATCHKEY_KERNEL_TESTS: "1" };
  return run(["vitest", "run", "--project", "kernel", ...options, ...files], env);
}

if (import.meta.main) {
  const named = process.argv.slice(2).flatMap((argument) => argument.split(","));
  const result = await runKernelTests(named.length > 0 ? named : kernelFiles());
  for (const { name, message } of result.failures) console.log(`FAILED ${name}\n    ${message}`);
  console.log(`kernel tests: ${result.passed} passed, ${result.failed} failed, ${result.skipped} skipped`);
  process.exitCode = result.failed > 0 ? 1 : 0;
}
