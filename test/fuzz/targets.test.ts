import { expect, test } from "vitest";
import { readCorpus } from "./corpus.ts";
import { runTarget } from "./run.ts";
import { TARGETS } from "./target.ts";

const SEED = 1;
/** What `npm test` spends on each; `npm run fuzz` takes hours. */
const FOR_MS = 10_000;

test.concurrent.each(TARGETS)("%s bears what the corpus holds and what ten seconds find", async (target) => {
  const result = await runTarget({ target, seed: SEED, corpus: readCorpus(target), forMs: FOR_MS });
  expect(result.findings.map(({ what, bytes }) => `${Buffer.from(bytes).toString("base64")}\n${what}`)).toEqual([]);
  expect(result.executions).toBeGreaterThan(readCorpus(target).length);
  expect(result.own).toBeGreaterThan(0);
});
