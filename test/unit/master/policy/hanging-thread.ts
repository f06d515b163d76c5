import { parentPort } from "node:worker_threads";
import type { Ask } from "../../../../src/master/policy/answers.ts";

// a thread in which expressions do what their text says
parentPort?.on("message", (asks: readonly Ask[]) => {
  const answers = asks.map(({ text }) => {
    if (text === "hang") for (;;);
    if (text === "throw") throw new Error("it threw");
    if (text === "exit") process.exit(0);
    if (text === "fill") for (const all: unknown[] = []; ;) all.push(Array.from({ length: 1000 }, () => all.length));
    return { holds: text === "true" };
  });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage({ answers, tookMs: 0 });
});
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage("ready");
