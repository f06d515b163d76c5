import { parentPort, workerData } from "node:worker_threads";
import { countVisits } from "./coverage.ts";
import { Engine } from "./engine.ts";
import type { Target } from "./target.ts";
import type { Order, Report } from "./run.ts";

/** Packages of others that decode what comes from outside. */
const PACKAGES = ["@marcbachmann/cel-js", "@msgpack/msgpack", "handlebars", "re2js", "yaml"];
/** Between two looks at the clock. */
const STEPS = 64;

async function main(order: Order): Promise<void> {
  // a port of threads knows no origins; the second argument is what it would hand over
  const say = (report: Report) => parentPort?.postMessage(report, []);
  const [counter, input] = [new Int32Array(order.shared, 0, 2), new Uint8Array(order.shared, 8)];
  const coverage = countVisits(PACKAGES);
  const { target } = (await import(order.file)) as { readonly target: Target };
  const engine = new Engine({
    target,
    coverage,
    seed: order.seed,
    begins: (bytes) => {
      input.set(bytes.subarray(0, input.length));
      Atomics.store(counter, 1, Math.min(bytes.length, input.length));
      Atomics.add(counter, 0, 1);
    },
    found: ({ key, what }, bytes) => say({ kind: "finding", key, what, bytes }),
    kept: (bytes) => say({ kind: "kept", bytes }),
  });
  const status = () => ({ executions: engine.executions, corpus: engine.corpus.length, ...engine.covered() });
  for (const seed of target.seeds()) await engine.feed(Buffer.from(seed as Uint8Array));
  for (const bytes of order.corpus) await engine.feed(Buffer.from(bytes));
  const until = performance.now() + order.forMs;
  let told = performance.now();
  while (performance.now() < until) {
    for (let left = STEPS; left > 0; left -= 1) await engine.step();
    if (performance.now() - told < 1000) continue;
    told = performance.now();
    say({ kind: "status", ...status() });
  }
  const corpus = order.minimise ? await engine.minimised() : [];
  say({ kind: "end", minimised: corpus, ...status() });
}

await main(workerData as Order);
