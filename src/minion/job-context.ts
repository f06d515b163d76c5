import type { JsonObject } from "../core/json.ts";
import type { LeaseRecord } from "../states/state.ts";
import { type FunctionCall, guardFunction } from "./execute.ts";
import type { FunctionContext, FunctionResult } from "./functions/function.ts";
import type { Machine } from "./machine.ts";
import type { RunProgress } from "./progress-sender.ts";
import { createStateRunner } from "./state-run.ts";
import { createVolumeRunner } from "./volume/runner.ts";
import { touchesVolumes } from "./volume/touched.ts";

/** How one job is run. */
export interface JobOptions {
  readonly jid: string;
  readonly fun: string;
  readonly signal: AbortSignal;
  /** How long a request or lease of this job waits for the master; Infinity for a startup run. */
  readonly waitMs: number;
  readonly progress: (progress: RunProgress) => void;
  /** The startup run: when all its states succeed, volumes count as up. */
  readonly startup?: true;
  /** Hears of moments worth a line in a timeline. */
  readonly moment?: (name: "locked" | "pillar" | "compiled", at: number) => void;
}

/** The context of one job, and what is left to do when its function has ended. */
export interface JobContext {
  readonly context: FunctionContext;
  readonly leases: () => readonly LeaseRecord[];
  /** Tells the master how the volumes are now, when the job may have changed one. Never throws. */
  readonly report: (call: Pick<FunctionCall, "fun">, result: FunctionResult) => Promise<void>;
  /** Waits for receipts. */
  readonly settle: () => Promise<void>;
}

/** Makes the context of one job: pillar and files are fetched at most once, when first needed. */
export function createJobContext(machine: Machine, options: JobOptions): JobContext {
  const { config, host, grains, backing, log } = machine;
  const { signal, waitMs, progress, jid, fun } = options;
  let last: RunProgress = { done: 0, total: 0, current: "" };
  const onWait = (reason: string): void => {
    log.warn({ jid, fun, reason }, `waiting: ${reason}`);
    progress({ ...last, current: reason });
  };
  const patience = { waitMs, signal, onWait };
  const leases = backing.leases(patience);
  let pillar: Promise<JsonObject> | undefined;
  const shared = { ...options, patience, leases, pillar: () => context.pillar() };
  const volumes = createVolumeRunner(machine, shared);
  const states = createStateRunner(machine, {
    ...shared,
    volumes,
    progress: (now) => {
      last = now;
      progress(now);
    },
    execution: (name) => guardFunction(name, context),
  });
  const context: FunctionContext = {
    id: config.id,
    host,
    stateDir: config.stateDir,
    grains,
    signal,
    states,
    volumes,
    minion: { config, lease: leases.lease, progress, log: (line) => log.info({ jid, fun }, line) },
    pillar: () => (pillar ??= backing.pillar(patience)),
  };
  return {
    context,
    leases: leases.records,
    report: async (call, { data }) => {
      if (!touchesVolumes(call, data)) return;
      const [{ reportVolumes }, { keepEscrowed }] = await Promise.all([
        import("./volume/report.ts"),
        import("./volume/keep-escrowed.ts"),
      ]);
      const reporting = { machine, volumes: context.volumes };
      const reports = await reportVolumes(reporting);
      // a check and a restore have seen to it themselves
      if (call.fun !== "volume.check" && call.fun !== "volume.header_restore") {
        await keepEscrowed(reporting, call.fun, reports);
      }
    },
    settle: leases.settle,
  };
}
