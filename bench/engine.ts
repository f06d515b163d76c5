import { systemClock } from "../src/core/clock.ts";
import { BugError } from "../src/core/errors.ts";
import { createHost } from "../src/minion/host.ts";
import type { EngineDeps } from "../src/minion/engine/deps.ts";
import { retcodeOf, runStates } from "../src/minion/engine/run.ts";
import { compile } from "../src/sls/compile.ts";
import { STATES } from "../src/states/registry.ts";
import { catalogueOf } from "../src/states/validate.ts";

/** Figures of the engine, in milliseconds. */
export interface EngineBench {
  /** A whole run (read, compile, run) of 1,000 `test.nop`, each requiring the one before, over the number of states. */
  readonly msPerStateAt1000: number;
  /** The same without requisites. */
  readonly msPerPlainStateAt1000: number;
  /** A whole run of an SLS with one `test.nop`. */
  readonly fixedMsPerRun: number;
  /** Time a state at 4,000 states over time a state at 1,000, in a chain: 1 is linear. */
  readonly chainGrowth: number;
  /** The same where every state requires all the states of another SLS. */
  readonly fanGrowth: number;
}

type Files = Readonly<Record<string, string>>;

function plain(count: number): Files {
  return { "a.sls": Array.from({ length: count }, (_, at) => `s${at}:\n  test.nop: []\n`).join("") };
}

function chain(count: number): Files {
  const states = Array.from(
    { length: count - 1 },
    (_, at) => `s${at}:\n  test.nop:\n    - require:\n      - test: s${at + 1}\n`,
  );
  return { "a.sls": `${states.join("")}s${count - 1}:\n  test.nop: []\n` };
}

function fan(count: number): Files {
  const half = Array.from({ length: count / 2 }, (_, at) => at);
  return {
    "a.sls": `include: [b]\n${half.map((at) => `s${at}:\n  test.nop:\n    - require:\n      - sls: b\n`).join("")}`,
    "b.sls": half.map((at) => `t${at}:\n  test.nop: []\n`).join(""),
  };
}

async function never(): Promise<never> {
  throw new BugError("unexpected", "a benchmark leases nothing");
}

function benchDeps(): EngineDeps {
  return {
    id: "bench",
    host: createHost(),
    clock: systemClock,
    random: () => 0,
    grains: {},
    pillar: {},
    states: STATES,
    source: never,
    leases: { lease: never, records: () => [] },
    journal: { begin: never, commit: never, pending: never },
    execution: () => undefined,
  };
}

/** Milliseconds of one whole run. */
async function runOnce(files: Files): Promise<number> {
  const from = performance.now();
  const source = { read: async (path: string) => (files[path] === undefined ? undefined : Buffer.from(files[path])) };
  const context = { id: "bench", grains: {}, pillar: {} };
  const compiled = await compile({ kind: "sls", names: ["a"] }, source, context, catalogueOf(STATES));
  if (compiled.kind === "errors") throw new BugError("bench", compiled.errors.map(({ message }) => message).join("; "));
  const result = await runStates(compiled.chunks, benchDeps(), { test: false, signal: new AbortController().signal });
  if (!(retcodeOf(result) === 0)) throw new BugError("bench", "a state failed");
  return performance.now() - from;
}

async function median(files: Files, runs: number): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run < runs; run += 1) times.push(await runOnce(files));
  return times.sort((a, b) => a - b)[Math.floor(runs / 2)] ?? Number.NaN;
}

/** Measures the engine in this process; takes some seconds, touches nothing. */
export async function runEngineBench(): Promise<EngineBench> {
  await median(chain(1000), 2);
  const chainMs = await median(chain(1000), 7);
  const plainMs = await median(plain(1000), 7);
  const fanMs = await median(fan(1000), 7);
  const chainMs4 = await median(chain(4000), 5);
  const fanMs4 = await median(fan(4000), 5);
  return {
    msPerStateAt1000: chainMs / 1000,
    msPerPlainStateAt1000: plainMs / 1000,
    fixedMsPerRun: await median(plain(1), 21),
    chainGrowth: chainMs4 / chainMs / 4,
    fanGrowth: fanMs4 / fanMs / 4,
  };
}
