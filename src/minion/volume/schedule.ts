import { errorMessage } from "../../core/errors.ts";
import { jidAt } from "../../core/ids.ts";
import { execute } from "../execute.ts";
import { createJobContext } from "../job-context.ts";
import type { Machine } from "../machine.ts";

/** The first check comes this long after the start, later by up to as much again times four: a whole site may start at once. */
const FIRST_MS = 60_000;
/** After a check that could not be made. */
const AGAIN_MS = 600_000;
/** How long one waits for the master. */
const WAIT_MS = 60_000;

/**
 * Checks the declared volumes soon after the start and then once an interval, each time at a moment of its own, until the
 * signal aborts. Behind every other run: it waits for the machine's lock. Never throws.
 */
export async function runScheduledChecks(machine: Machine, signal: AbortSignal): Promise<void> {
  const { clock, config, random } = machine;
  const intervalMs = config.volumeCheckIntervalMs;
  if (intervalMs === 0) return;
  let waitMs = Math.min(FIRST_MS * (1 + 4 * random()), intervalMs * random());
  while (!signal.aborted) {
    await clock.sleep(waitMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    const isDone = await checkOnce(machine, signal);
    const spread = 0.9 + 0.2 * random();
    waitMs = (isDone ? intervalMs : Math.min(AGAIN_MS, intervalMs)) * spread;
  }
}

/** One check of all volumes, and the report of it. False when it could not be made. */
async function checkOnce(machine: Machine, signal: AbortSignal): Promise<boolean> {
  const { clock, log, random } = machine;
  const jid = jidAt(clock.now(), Math.floor(random() * 1000));
  const call = { fun: "volume.check", args: [], kwargs: {} };
  try {
    const job = createJobContext(machine, { jid, fun: call.fun, signal, waitMs: WAIT_MS, progress: () => {} });
    if ((await job.context.volumes.select([])).length === 0) return true;
    const result = await execute(call, job.context);
    if (!signal.aborted) log.info({ jid, retcode: result.retcode }, "volumes checked");
    await job.report(call, result);
    await job.settle();
    return true;
  } catch (thrown) {
    if (!signal.aborted) log.warn({ jid, reason: errorMessage(thrown) }, "the volumes could not be checked");
    return false;
  }
}
