import { ensureBundle } from "../lab/product-disk.ts";
import { labObstacle } from "../lab/obstacle.ts";
import { ensurePackages } from "../lab/packages.ts";
import { errorText } from "../src/core/error-text.ts";
import { failuresText } from "./failures.ts";
import { runKernelTests } from "./kernel/run.ts";
import { TEST_PACKAGES } from "./tools.ts";
import { brokenTier, runVitest, skipTier, sumOf, type TierCounts, type TierResult } from "./tiers.ts";

const say = (line: string) => console.log(`-- ${line}`);

async function runLab(): Promise<TierResult> {
  const obstacle = await labObstacle(say);
  if (obstacle === undefined) {
    return runVitest("lab", ["--reporter=verbose"], 1_800_000);
  }
  console.log(`\n!! SKIPPED: the lab tests did not run. ${obstacle}\n`);
  return skipTier("lab");
}

const TIERS: Readonly<Record<string, () => Promise<TierResult>>> = {
  unit: () => runVitest("unit", ["--reporter=default"]),
  vectors: () => runVitest("vectors", ["--reporter=default"]),
  contract: () => runVitest("contract", ["--reporter=default"]),
  cli: () => runVitest("cli", ["--reporter=default"]),
  fuzz: () => runVitest("fuzz", ["--reporter=verbose"]),
  kernel: () => runKernelTests(),
  lab: runLab,
};

const countsText = ({ passed, failed, skipped }: TierCounts) =>
  `${passed} passed, ${failed} failed, ${skipped} skipped`;

async function runTier(name: string, run: () => Promise<TierResult>): Promise<TierResult> {
  const startedAt = Date.now();
  console.log(`\n== ${name}`);
  let result: TierResult;
  try {
    result = await run();
  } catch (error) {
    console.log(errorText(error));
    result = brokenTier("the tier did not run", errorText(error));
  }
  console.log(`== ${name}: ${countsText(result)} (${Math.round((Date.now() - startedAt) / 1000)} s)`);
  return result;
}

/** `node test/run.ts [tier…]`: runs the tiers one after the other; what failed comes at the end, the last line holds the counts over all. */
async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !(name in TIERS));
  if (unknown.length > 0) {
    console.error(`no such tier: ${unknown.join(", ")}; there are ${Object.keys(TIERS).join(", ")}`);
    return 2;
  }
  await ensureBundle(say);
  try {
    await ensurePackages(TEST_PACKAGES, say);
  } catch (error) {
    console.log(`\n!! tests against real programs that are not here are skipped. ${errorText(error)}\n`);
  }
  const results: (readonly [string, TierResult])[] = [];
  for (const [name, run] of Object.entries(TIERS)) {
    if (names.length === 0 || names.includes(name)) results.push([name, await runTier(name, run)]);
  }
  const total = sumOf(results.map(([, result]) => result));
  const failures = failuresText(results.map(([tier, result]) => ({ tier, failures: result.failures })));
  if (failures !== "") console.log(`\n${failures}`);
  console.log("");
  for (const [name, counts] of results) console.log(`${name.padEnd(9)} ${countsText(counts)}`);
  console.log(`\n${countsText(total)}`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
