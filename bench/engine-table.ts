import { runEngineBench } from "./engine.ts";
import type { BenchResult } from "./table.ts";

/** What the engine itself costs. */
export async function run(): Promise<BenchResult> {
  const figures = await runEngineBench();
  return {
    rows: [
      {
        key: "msPerStateAt1000",
        value: figures.msPerStateAt1000,
        unit: "ms",
        budget: { limit: 1, good: "below", aim: 0.1 },
        note: "each requires the one before; Salt 0.2",
      },
      { key: "msPerPlainStateAt1000", value: figures.msPerPlainStateAt1000, unit: "ms", note: "no requisites" },
      {
        key: "fixedMsPerRun",
        value: figures.fixedMsPerRun,
        unit: "ms",
        note: "read, compile and run one state; Salt over 1200",
      },
      {
        key: "chainGrowth",
        value: figures.chainGrowth,
        unit: "x",
        note: "a state's time at 4,000 over that at 1,000; 1 is linear",
      },
      { key: "fanGrowth", value: figures.fanGrowth, unit: "x", note: "the same, every state requiring a whole SLS" },
    ],
  };
}
