import { parentPort, workerData } from "node:worker_threads";
import type { Ask } from "./master/policy/answers.ts";
import { evaluateAsks } from "./master/policy/evaluate-asks.ts";
import { ThreadProgress } from "./master/policy/thread-progress.ts";

/** Loads and compiles what the first expression needs, which would count as that one's time: 400 ms on a busy machine. */
const FIRST: Ask = {
  text: 'instance.name.matches("^[a-z]+[0-9]?$") && [instance.name].exists(x, x.startsWith("w"))',
  context: { instance: { name: "warm" }, claims: null, request: {} },
};

const progress = new ThreadProgress(workerData as Int32Array);
// the thread in which a master evaluates the expressions of its release policy
parentPort?.on("message", (asks: readonly Ask[]) => {
  const { value: answers, tookMs } = progress.run(() => evaluateAsks(asks));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage({ answers, tookMs });
  progress.end();
});
evaluateAsks([FIRST]);
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage("ready");
