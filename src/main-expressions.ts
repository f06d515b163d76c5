import { parentPort } from "node:worker_threads";
import type { Ask } from "./master/policy/answers.ts";
import { evaluateAsks } from "./master/policy/evaluate-asks.ts";

// the thread in which a master evaluates the expressions of its release policy
parentPort?.on("message", (asks: readonly Ask[]) => {
  const began = performance.now();
  const answers = evaluateAsks(asks);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage({ answers, tookMs: performance.now() - began });
});
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage("ready");
