import { parentPort, workerData } from "node:worker_threads";
import type { Ask } from "../../../../src/master/policy/answers.ts";
import { ThreadProgress } from "../../../../src/master/policy/thread-progress.ts";

const progress = new ThreadProgress(workerData as Int32Array);

// a thread in which expressions do what their text says
parentPort?.on("message", (asks: readonly Ask[]) => {
  const evaluate = ({ text }: Ask) => {
    if (text === "hang") for (;;);
    if (text === "throw") throw new Error("it threw");
    if (text === "exit") process.exit(0);
    if (text === "fill") for (const all: unknown[] = []; ;) all.push(Array.from({ length: 1000 }, () => all.length));
    // does nothing for longer than it may take, as where the machine has no core for it
    if (text === "sleep") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 900);
    return { holds: text === "true" };
  };
  const { value: answers } = progress.run(() => asks.map(evaluate));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage({ answers, tookMs: 0 });
  progress.end();
});
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage("ready");
