import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { errorMessage, LatchkeyError } from "../core/errors.ts";
import { jidAt } from "../core/ids.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import { notifyService } from "../core/sd-notify.ts";
import type { FunctionCall } from "./execute.ts";
import type { FunctionResult } from "./functions/function.ts";
import { createJobContext } from "./job-context.ts";
import type { Jobs } from "./jobs.ts";
import type { MasterConnection } from "../wire/endpoints.ts";
import type { Machine } from "./machine.ts";
import { readKernelStart, type Timeline, timelineRow, type TimelineRecorder } from "./timeline.ts";

/** What the startup run needs. */
export interface StartupOptions {
  readonly machine: Machine;
  readonly jobs: Jobs;
  readonly connection: MasterConnection;
  readonly bootId: string;
  readonly timeline: TimelineRecorder;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Called when a run has ended, well or not, and when there is none to do. */
  readonly ended: () => void;
}

interface Marker {
  readonly bootId: string;
  readonly jid: string;
  readonly finishedAt: number;
}

function startupCall({ config }: Machine): FunctionCall | undefined {
  switch (config.startupStates) {
    case "highstate":
      return { fun: "state.highstate", args: [], kwargs: {} };
    case "sls":
      return { fun: "state.sls", args: config.slsList, kwargs: {} };
    case "top":
      return { fun: "state.top", args: [config.topFile], kwargs: {} };
    case "":
      return undefined;
    default:
      return config.startupStates satisfies never;
  }
}

/**
 * Runs the startup states exactly once a boot: ready first (session, pillar), again after a crash or a failure (with
 * backoff), never again after a success, with which `latchkey-volumes.target` is reached. Where there is none to do, the target
 * is reached as soon as every declared volume is proven to be mounted: then this ends, and at once where none is declared.
 */
export async function runStartup(options: StartupOptions): Promise<void> {
  const { machine, bootId, connection, random, signal } = options;
  const { config, host, log, clock, target } = machine;
  const markerPath = join(config.runDir, "startup.json");
  const call = startupCall(machine);
  const done = parseMarker(await host.readFile(markerPath));
  if (call === undefined || (done !== undefined && done.bootId === bootId)) {
    log.info(call === undefined ? "no startup states are configured" : "startup states ran already in this boot");
    // what was compiled is kept now, for a start after a power cut: Node itself keeps it at an orderly end only
    flushCompileCache();
    options.ended();
    await lookAtVolumes(options);
    return;
  }
  let pauseMs = config.startupRetryMinMs;
  for (;;) {
    await connection.ready(signal);
    const jid = jidAt(clock.now(), Math.floor(random() * 1000));
    const { departures } = target;
    const result = await runOnce(options, jid, call);
    // a mark that had no room is tried again; a volume that was taken down meanwhile is somebody's wish
    if (result.retcode === 0 && ((await target.isReached()) || target.departures !== departures)) {
      await leaveMarker(machine, markerPath, { bootId, jid, finishedAt: clock.now() });
      log.info({ jid }, "startup states done: everything is as it should be");
      flushCompileCache();
      options.ended();
      return;
    }
    flushCompileCache();
    options.ended();
    const waitMs = Math.round(pauseMs * (0.8 + 0.4 * random()));
    log.error({ jid, retcode: result.retcode, waitMs }, "startup states failed: tried again");
    void notifyService({ status: "startup states failed, trying again" });
    await clock.sleep(waitMs, signal);
    pauseMs = Math.min(pauseMs * 2, config.startupRetryMaxMs);
  }
}

/**
 * After a restart in the same boot, or with no startup states: nothing is run, so nothing is known to be mounted. Declared
 * volumes are looked at by and by, until all of them are.
 */
async function lookAtVolumes({ machine, connection, random, signal }: StartupOptions): Promise<void> {
  const { clock, config, log, target } = machine;
  let pauseMs = config.startupRetryMinMs;
  while (!(await target.isReached())) {
    await connection.ready(signal);
    const jid = jidAt(clock.now(), Math.floor(random() * 1000));
    const options = { jid, fun: "volume.status", signal, waitMs: Number.POSITIVE_INFINITY, progress: () => {} };
    const { context } = createJobContext(machine, options);
    try {
      await context.pillar();
      const { volumes } = context;
      const declared = await volumes.exclusively(async () => {
        await volumes.settle();
        return volumes.select([]);
      });
      // with none declared only a run can tell
      if (!declared.some(({ mount }) => mount !== undefined)) return;
    } catch (thrown) {
      // a broken pillar, a master or a disk is mended by somebody, some time
      if (!(thrown instanceof LatchkeyError)) throw thrown;
      log.error({ reason: thrown.message }, "cannot tell whether the volumes are up: looked at again");
    }
    if (await target.isReached()) return;
    await clock.sleep(Math.round(pauseMs * (0.8 + 0.4 * random())), signal);
    pauseMs = Math.min(pauseMs * 2, config.startupRetryMaxMs);
  }
}

/** Without it (/run is full) the run is done again when the minion is started again, which changes nothing. */
async function leaveMarker({ config, host, log }: Machine, path: string, marker: Marker): Promise<void> {
  try {
    await host.makeDirectory(config.runDir, 0o755);
    await host.writeFile(path, Buffer.from(JSON.stringify(marker)), { mode: 0o600 });
  } catch (thrown) {
    log.error({ path, reason: errorMessage(thrown) }, "cannot note that the startup states are done");
  }
}

async function runOnce(options: StartupOptions, jid: string, call: FunctionCall): Promise<FunctionResult> {
  const { machine, jobs, bootId, timeline, signal } = options;
  const { clock, log } = machine;
  const startedAt = clock.now();
  const kernelStart = (await readKernelStart(machine.host, startedAt)) ?? startedAt;
  log.info({ jid, fun: call.fun }, "startup states begin");
  let finished: Timeline | undefined;
  const result = await jobs.runOwn({
    jid,
    call,
    signal,
    startup: true,
    waitMs: Number.POSITIVE_INFINITY,
    moment: (name, at) => timeline.mark(MOMENTS[name], at),
    amend: (made, job) => {
      timeline.addRun(made.data, job.leases(), startedAt);
      timeline.mark(made.retcode === 0 ? "startup states done" : "startup states failed", clock.now());
      finished = timeline.finish(bootId, jid, kernelStart);
      return { ...made, data: withTimeline(made.data, finished) };
    },
  });
  if (finished !== undefined) await writeTimeline(machine, finished);
  return result;
}

const MOMENTS = { locked: "startup states begin", pillar: "pillar in hand", compiled: "states compiled" } as const;

function withTimeline(data: Json, timeline: Timeline): Json {
  if (!isJsonObject(data)) return data;
  const [key, row] = timelineRow(timeline, Object.keys(data).length);
  return { ...data, [key]: { ...row } };
}

async function writeTimeline({ config, host, log }: Machine, timeline: Timeline): Promise<void> {
  try {
    await host.makeDirectory(config.runDir, 0o755);
    await host.writeFile(join(config.runDir, "timeline.json"), Buffer.from(JSON.stringify(timeline, null, 1)), {
      mode: 0o644,
    });
  } catch (thrown) {
    log.error({ reason: errorMessage(thrown) }, "the timeline of the startup could not be written");
  }
}

function parseMarker(bytes: Buffer | undefined): Marker | undefined {
  try {
    return bytes === undefined ? undefined : (JSON.parse(bytes.toString("utf8")) as Marker);
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
