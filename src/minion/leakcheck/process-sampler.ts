import { readdirSync } from "node:fs";
import { setImmediate as yieldToLoop } from "node:timers/promises";
import type { Hunt } from "./hunt.ts";

const KINDS = ["cmdline", "environ"] as const;

/** Looks once at the arguments and environment of every process. */
export function sampleProcesses(hunt: Hunt): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/u.test(name))) {
    for (const kind of KINDS) hunt.peek(`/proc/${pid}/${kind}`);
  }
}

/** Samples again and again while `act` runs: a command may live for milliseconds only. */
export async function sampleWhile<T>(hunt: Hunt, act: () => Promise<T>): Promise<T> {
  const acted = new AbortController();
  const acting = act().finally(() => {
    acted.abort();
  });
  // its failure is told below, by the await
  acting.catch(() => undefined);
  while (!acted.signal.aborted && !hunt.spent) {
    sampleProcesses(hunt);
    await yieldToLoop();
  }
  return acting;
}
