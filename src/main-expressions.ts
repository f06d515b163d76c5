import { parentPort } from "node:worker_threads";
import type { Ask } from "./master/policy/answers.ts";
import { evaluateAsks } from "./master/policy/evaluate-asks.ts";

/** Loads and compiles what the first expression needs, which would count as that one's time: 400 ms on a busy machine. */
const FIRST: Ask = {
  text: 'instance.name.matches("^[a-z]+[0-9]?$") && [instance.name].exists(x, x.startsWith("w"))',
  context: { instance: { name: "warm" }, claims: null, request: {} },
};

// the thread in which a master evaluates the expressions of its release policy
parentPort?.on("message", (asks: readonly Ask[]) => {
  const began = performance.now();
  const answers = evaluateAsks(asks);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage({ answers, tookMs: performance.now() - began });
});
evaluateAsks([FIRST]);
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage("ready");
