import type { Json, JsonObject } from "../core/json.ts";
import type { SlsSource } from "../sls/low.ts";
import type { ExecutionFunction } from "./engine/deps.ts";
import { errorText } from "../core/error-text.ts";
import { type FunctionResult, ok } from "./functions/function.ts";
import { functionNames } from "./functions/registry.ts";
import type { JobOptions } from "./job-context.ts";
import type { Leases } from "./lease.ts";
import type { Patience } from "./link.ts";
import type { Machine } from "./machine.ts";
import { describeHolder } from "./run-lock.ts";
import { loadEngine } from "./state-engine.ts";
import { loggedHost } from "./volume/logged-host.ts";
import type { VolumeRunner } from "./volume/runner.ts";
import type { StateRunner, StateSelection } from "./state-runner.ts";

/** What the state runs of one job need besides the machine. */
export interface StateRunOptions extends JobOptions {
  readonly patience: Patience;
  readonly leases: Leases;
  readonly pillar: () => Promise<JsonObject>;
  readonly volumes: VolumeRunner;
  readonly execution: (fun: string) => ExecutionFunction | undefined;
}

/** Salt's exit code for SLS that does not compile. */
const COMPILE_FAILED = 1;

/** Runs states for one job: queued behind other state runs of this machine, with fresh pillar and files. */
export function createStateRunner(machine: Machine, options: StateRunOptions): StateRunner {
  const { config, host, grains, backing, journal, lock, clock, log, random, target } = machine;
  const { jid, fun, signal, leases, patience, waitMs } = options;
  const moment = (name: "locked" | "pillar" | "compiled") => options.moment?.(name, clock.now());

  const compileFor = async (what: StateSelection) => {
    const loading = loadEngine();
    const files = backing.files(patience);
    const pillar = await options.pillar();
    moment("pillar");
    const engine = await loading;
    const wanted = what.kind === "sls" ? what : ({ kind: "highstate" } as const);
    const context = { id: config.id, grains, pillar };
    const compiled = await engine.compile(wanted, topSource(what, files), context, {
      ...engine.known,
      functions: functionNames(),
    });
    moment("compiled");
    return { engine, compiled, files, pillar };
  };

  const runLocked = async (what: StateSelection, test: boolean): Promise<FunctionResult> => {
    const { engine, compiled, files, pillar } = await compileFor(what);
    if (compiled.kind === "errors") return { data: compiled.errors.map(errorText), retcode: COMPILE_FAILED };
    const { id } = config;
    if (compiled.chunks.length === 0) {
      const top = what.kind === "sls" ? undefined : what.kind === "top" ? what.file : "top.sls";
      const rows = engine.noStates({ id, top, names: compiled.names, at: clock.now() });
      for (const { comment } of Object.values(rows)) log.error({ jid, fun }, comment);
      return { data: rows as unknown as Json, retcode: engine.retcodeOf(rows) };
    }
    const data = await engine.runStates(
      compiled.chunks,
      {
        id,
        host,
        clock,
        random,
        grains,
        pillar,
        states: engine.states,
        source: (url) => files.source(url),
        leases,
        journal,
        execution: options.execution,
        volumes: {
          layerHost: (volume, layer) => loggedHost(host, log, { volume, layer }),
          stateHost: (state, subject, layer) => loggedHost(host, log, { state, subject, layer }),
          assertKeyKept: async (context, volume, guard) => {
            const { assertKeyKept } = await import("./volume/guard.ts");
            const guarded = { ...context, volume, machine };
            await assertKeyKept(guarded, guard);
          },
          escrowedUuid: async (volume) => {
            if (backing.master === undefined) return "";
            const { escrowedUuid } = await import("./volume/escrowed-uuid.ts");
            return escrowedUuid(backing.master, volume, patience);
          },
          forgetKey: async (volume) => {
            const [{ forgetKey }, { dropRawHeader }] = await Promise.all([
              import("./volume/forget.ts"),
              import("./volume/raw-header.ts"),
            ]);
            await dropRawHeader({ host, machine, volume });
            return forgetKey(backing.master, volume, patience);
          },
          beforeDown: async (how, ending) =>
            target.leave(how, ending, options.startup === true ? "startup" : "another"),
        },
        ...(machine.reached === undefined ? {} : { reached: machine.reached }),
      },
      {
        test,
        signal,
        // a startup run waits for its master as long as that takes
        ...(waitMs === Number.POSITIVE_INFINITY ? { stateTimeoutMs: waitMs } : {}),
        progress: (done, total, current) => options.progress({ done, total, current }),
      },
    );
    await files.prune();
    return { data: data as unknown as Json, retcode: engine.retcodeOf(data) };
  };

  const afterRun = async (
    { retcode, data }: FunctionResult,
    before: { readonly isReached: boolean; readonly departures: number },
  ): Promise<void> => {
    const isGood = retcode === 0;
    if (options.startup === true && isGood && target.departures === before.departures) {
      await target.reach();
    } else if (isGood || before.isReached) {
      const { hasMounted, settleTarget, stoppedBy } = await import("./volume/settle-target.ts");
      const made = { hasMountedSome: isGood && hasMounted(data), stopped: stoppedBy(isGood ? data : {}) };
      await settleTarget(machine, options.volumes, made);
    }
  };

  return {
    run: async (what, { test }) => {
      const release = await lock.acquire(
        { pid: process.pid, jid, fun, since: clock.now() },
        (other) => {
          const who = other === undefined ? "another state run" : describeHolder(other);
          log.info({ jid, fun }, `queued: ${who} is running`);
          options.progress({ done: 0, total: 0, current: `queued behind ${who}` });
        },
        signal,
      );
      try {
        moment("locked");
        const before = { isReached: await target.isReached(), departures: target.departures };
        const result = await runLocked(what, test);
        if (!test) await afterRun(result, before);
        return result;
      } finally {
        await release();
      }
    },
    show: async (what) => {
      const { compiled } = await compileFor(what);
      if (compiled.kind === "errors") return { data: compiled.errors.map(errorText), retcode: COMPILE_FAILED };
      return ok(JSON.parse(JSON.stringify(compiled.chunks)) as Json);
    },
    showTop: async () => {
      const { readTop } = await loadEngine();
      const context = { id: config.id, grains, pillar: await options.pillar() };
      return ok({ base: (await readTop(backing.files(patience), context)) ?? [] });
    },
    running: async () => {
      const holder = await lock.holder();
      return holder === undefined ? undefined : `${describeHolder(holder)} is running`;
    },
  };
}

/** Another top file stands in for `top.sls`. */
function topSource(what: StateSelection, files: SlsSource): SlsSource {
  if (what.kind !== "top") return files;
  return { ...files, read: (path) => files.read(path === "top.sls" ? what.file : path) };
}
