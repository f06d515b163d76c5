import { Worker } from "node:worker_threads";
import { seedOf } from "./random.ts";
import { targetFile } from "./target.ts";

/** What a thread is to do. */
export interface Order {
  readonly file: string;
  readonly seed: number;
  readonly corpus: readonly Uint8Array[];
  readonly forMs: number;
  readonly minimise: boolean;
  /** Two numbers (executions, length of the input under way), then that input. */
  readonly shared: SharedArrayBuffer;
}

/** How far a thread has come. */
export interface Status {
  readonly executions: number;
  readonly corpus: number;
  /** Branches reached in the target's own files, of how many there, and in all that was loaded. */
  readonly own: number;
  readonly ownOf: number;
  readonly all: number;
}

/** What a thread says. */
export type Report =
  | { readonly kind: "finding"; readonly key: string; readonly what: string; readonly bytes: Uint8Array }
  | { readonly kind: "kept"; readonly bytes: Uint8Array }
  | ({ readonly kind: "status" } & Status)
  | ({ readonly kind: "end"; readonly minimised: readonly Uint8Array[] } & Status);

/** An input that a decoder does not bear. */
export interface Finding {
  readonly target: string;
  readonly what: string;
  readonly bytes: Uint8Array;
}

export interface RunOptions {
  readonly target: string;
  /** Of which module in place of one in `targets/`. */
  readonly file?: string;
  readonly seed: number;
  readonly corpus: readonly Uint8Array[];
  readonly forMs: number;
  readonly minimise?: boolean;
  /** An input that takes longer is a finding. */
  readonly hangMs?: number;
  readonly onStatus?: (status: Status) => void;
  readonly onFinding?: (finding: Finding) => void;
}

export interface RunResult extends Status {
  readonly findings: readonly Finding[];
  /** Everything that was kept; when asked for, the fewest that reach as far. */
  readonly inputs: readonly Uint8Array[];
}

const MAX_INPUT = 1024 * 1024;
const HANG_MS = 20_000;
const HEAP_MIB = 512;
/** A target that ends its thread again and again is given up. */
const MAX_DEATHS = 4;

/**
 * Fuzzes one target in threads of their own, one after the other: an input that does not come back, or takes all of a
 * thread's memory, ends its thread and is a finding, and the next one goes on with what was found.
 */
export async function runTarget(options: RunOptions): Promise<RunResult> {
  const findings: Finding[] = [];
  const kept: Uint8Array[] = [...options.corpus];
  const until = performance.now() + options.forMs;
  let status: Status = { executions: 0, corpus: 0, own: 0, ownOf: 0, all: 0 };
  const found = (what: string, bytes: Uint8Array) => {
    const finding = { target: options.target, what, bytes };
    findings.push(finding);
    options.onFinding?.(finding);
  };
  for (let deaths = 0; deaths < MAX_DEATHS; deaths += 1) {
    const before = status.executions;
    const end = await runThread(options, deaths, kept, until - performance.now(), (report) => {
      if (report.kind === "finding") found(report.what, report.bytes);
      else if (report.kind === "kept") kept.push(report.bytes);
      else {
        status = { ...report, executions: before + report.executions };
        options.onStatus?.(status);
      }
    });
    if (end.kind === "end") return { ...status, findings, inputs: end.minimised.length > 0 ? end.minimised : kept };
    found(end.what, end.bytes);
  }
  return { ...status, findings, inputs: kept };
}

type End =
  | Extract<Report, { readonly kind: "end" }>
  | { readonly kind: "death"; readonly what: string; readonly bytes: Uint8Array };

async function runThread(
  { target, file = targetFile(target), seed, minimise = false, hangMs = HANG_MS }: RunOptions,
  life: number,
  corpus: readonly Uint8Array[],
  forMs: number,
  onReport: (report: Report) => void,
): Promise<End> {
  const shared = new SharedArrayBuffer(8 + MAX_INPUT);
  const counter = new Int32Array(shared, 0, 2);
  const order: Order = { file, seed: seedOf(seed + life, target), corpus, forMs, minimise, shared };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    execArgv: ["--no-warnings"],
    env: {},
  });
  const { promise, resolve } = Promise.withResolvers<End>();
  const die = (what: string) => {
    const length = Atomics.load(counter, 1);
    resolve({ kind: "death", what, bytes: Uint8Array.from(new Uint8Array(shared, 8, length)) });
  };
  worker.on("message", (report: Report) => {
    onReport(report);
    if (report.kind === "end") resolve(report);
  });
  worker.on("error", (error: Error) => die(`ended its thread: ${error.stack ?? error.message}`));
  worker.on("exit", () => die("ended its thread"));
  let last = -1;
  let since = performance.now();
  const watch = setInterval(
    () => {
      const now = Atomics.load(counter, 0);
      if (now !== last) {
        last = now;
        since = performance.now();
      } else if (now > 0 && performance.now() - since > hangMs) die(`did not end within ${hangMs / 1000} s`);
    },
    Math.min(1000, hangMs / 4),
  );
  try {
    return await promise;
  } finally {
    clearInterval(watch);
    await worker.terminate();
  }
}
