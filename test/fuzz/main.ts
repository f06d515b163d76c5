import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { sha256 } from "../../src/core/crypto/hash.ts";
import { errorMessage } from "../../src/core/errors.ts";
import { readCorpus, writeCorpus } from "./corpus.ts";
import { type Finding, runTarget, type RunResult, type Status } from "./run.ts";
import { TARGETS } from "./target.ts";

const USAGE = `usage: npm run fuzz -- [--target NAME]… [--hours N | --seconds N] [--seed N] [--jobs N] [--findings DIR] [--keep]
       npm run fuzz -- --target NAME --replay FILE
targets: ${TARGETS.join(", ")}`;
const HOUR_MS = 3_600_000;

interface Settings {
  readonly targets: readonly string[];
  readonly forMs: number;
  readonly seed: number;
  readonly jobs: number;
  readonly folder: string;
  /** Put what was found, minimised, into the tree's corpus. */
  readonly keep: boolean;
}

const percent = ({ own, ownOf }: Status) => (ownOf === 0 ? "" : ` (${Math.round((100 * own) / ownOf)}%)`);

function line(target: string, status: Status, findings: number): string {
  const { executions, corpus, own, ownOf, all } = status;
  const branches = `${own} of ${ownOf}${percent(status)}, ${all} in all`;
  return `${target.padEnd(12)} ${executions} executions, branches ${branches}, corpus ${corpus}, findings ${findings}`;
}

/** Writes a finding's bytes and what it is, and says how to see it again. */
function record({ target, what, bytes }: Finding, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const name = `${target}-${sha256(bytes).toString("hex", 0, 6)}`;
  const file = resolve(folder, `${name}.bin`);
  const replay = `npm run fuzz -- --target ${target} --replay ${file}`;
  writeFileSync(file, bytes);
  writeFileSync(resolve(folder, `${name}.txt`), `${what}\n\n${replay}\n`);
  console.log(`!! ${target}: ${what.split("\n", 1)[0]}\n   ${replay}`);
}

async function fuzz(target: string, { forMs, seed, folder, keep }: Settings): Promise<RunResult> {
  let findings = 0;
  let told = 0;
  const result = await runTarget({
    target,
    seed,
    forMs,
    corpus: readCorpus(target),
    minimise: keep,
    onFinding: (finding) => {
      findings += 1;
      record(finding, folder);
    },
    onStatus: (status) => {
      if (performance.now() - told < 10_000) return;
      told = performance.now();
      console.log(line(target, status, findings));
    },
  });
  if (keep) writeCorpus(target, result.inputs);
  return result;
}

async function all(settings: Settings): Promise<number> {
  const results: (readonly [string, RunResult])[] = [];
  const left = [...settings.targets];
  const work = async () => {
    for (let target = left.shift(); target !== undefined; target = left.shift()) {
      results.push([target, await fuzz(target, settings)]);
    }
  };
  await Promise.all(Array.from({ length: settings.jobs }, work));
  console.log("");
  for (const [target, result] of results) console.log(line(target, result, result.findings.length));
  const found = results.reduce((sum, [, { findings }]) => sum + findings.length, 0);
  if (found > 0) console.log(`\n${found} findings in ${settings.folder}`);
  return found === 0 ? 0 : 1;
}

async function replay(target: string, file: string): Promise<number> {
  const { findings } = await runTarget({ target, seed: 0, forMs: 0, corpus: [readFileSync(file)] });
  for (const { what } of findings) console.log(what);
  console.log(findings.length === 0 ? "nothing found" : `\n${findings.length} findings`);
  return findings.length === 0 ? 0 : 1;
}

async function main(args: readonly string[]): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      target: { ...text, multiple: true, default: [...TARGETS] },
      hours: text,
      seconds: text,
      seed: text,
      jobs: text,
      findings: { ...text, default: "fuzz-findings" },
      keep: { type: "boolean", default: false },
      replay: text,
    },
  });
  const unknown = values.target.filter((name) => !(TARGETS as readonly string[]).includes(name));
  if (unknown.length > 0) throw new RangeError(`no such target: ${unknown.join(", ")}`);
  if (values.replay !== undefined) return replay(values.target[0] ?? "", values.replay);
  const jobs = Math.max(1, Number(values.jobs ?? 1));
  // what is asked for is how long it all takes
  const share = Math.min(1, jobs / values.target.length);
  const whole = values.seconds === undefined ? Number(values.hours ?? 1) * HOUR_MS : Number(values.seconds) * 1000;
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  if (![jobs, whole, seed].every((number) => Number.isFinite(number))) throw new RangeError("not a number");
  console.log(`seed ${seed}, ${Math.round((whole * share) / 1000)} s each`);
  const folder = resolve(values.findings);
  return all({ targets: values.target, forMs: whole * share, seed, jobs, folder, keep: values.keep });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`${errorMessage(error)}\n${USAGE}`);
  process.exitCode = 2;
}
