import { defineConfig } from "vitest/config";

/** Tiers that need nothing but Node; kernel and lab tests have runners of their own (see test/run.ts). */
const tier = (name: string, testTimeout: number) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    expect: { poll: { timeout: 30_000 } },
  },
});

export default defineConfig({
  test: {
    pool: "threads",
    maxWorkers: 2,
    // the decoders of test/fuzz, each in a thread of its own
    maxConcurrency: 2,
    projects: [
      // deadlines against hanging, for a machine on which everything takes ten times as long
      tier("unit", 20_000),
      tier("vectors", 20_000),
      tier("contract", 120_000),
      tier("cli", 180_000),
      tier("fuzz", 120_000),
      tier("kernel", 400_000),
      tier("lab", 600_000),
    ],
  },
});
