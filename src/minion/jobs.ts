import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { errorMessage } from "../core/errors.ts";
import { JID } from "../core/ids.ts";
import type { Job } from "../wire/messages.ts";
import { execute, type FunctionCall } from "./execute.ts";
import type { FunctionResult } from "./functions/function.ts";
import { findFunction, functionNames } from "./functions/registry.ts";
import { createJobContext, type JobContext, type JobOptions } from "./job-context.ts";
import type { Link } from "./link.ts";
import type { Machine } from "./machine.ts";
import { createProgressSender } from "./progress-sender.ts";
import type { Courier } from "./courier.ts";
import type { Spool } from "./spool.ts";

/** A job as heartbeats tell of it. */
export interface RunningJob {
  readonly jid: string;
  readonly fun: string;
  readonly since: number;
}

/** How long a pushed job waits for a lost master. */
const JOB_WAIT_MS = 60_000;
/** Functions that run at once; what changes the machine by states does not count, it has a queue of its own. */
const MAX_RUNNING = 32;
/** Jobs that were taken and have not ended. */
const MAX_TAKEN = 1000;
/** It acts at once, whatever else runs or waits. */
const URGENT = "volume.lock";

/** A startup run: a job that the minion gives itself. */
export interface OwnRun extends Pick<JobOptions, "waitMs" | "signal" | "startup"> {
  readonly jid: string;
  readonly call: FunctionCall;
  readonly moment: NonNullable<JobOptions["moment"]>;
  /** What goes into the return in place of the function's own data. */
  readonly amend: (result: FunctionResult, job: JobContext) => FunctionResult;
}

/** Takes jobs, runs each once, and keeps their returns until the master has them. */
export class Jobs {
  readonly #machine: Machine;
  readonly #link: Link;
  readonly #spool: Spool;
  readonly #courier: Courier;
  readonly #directory: string;
  readonly #signal: AbortSignal;
  readonly #running = new Map<string, RunningJob>();
  readonly #waiting: (() => void)[] = [];
  readonly #recovered = Promise.withResolvers<void>();
  #noted: Promise<void> = Promise.resolve();
  #busy = 0;

  constructor(machine: Machine, link: Link, spool: Spool, courier: Courier, signal: AbortSignal) {
    this.#machine = machine;
    this.#link = link;
    this.#spool = spool;
    this.#courier = courier;
    this.#signal = signal;
    this.#directory = join(machine.config.stateDir, "jobs");
  }

  /** What runs or waits for its turn, oldest first; at most 100 as a heartbeat has room for. */
  running(): RunningJob[] {
    return [...this.#running.values()].slice(0, 100);
  }

  /**
   * Jobs that ran when this minion was last ended have no whole return of their own: they are not run again (I7), and
   * return that they were cut short. Then returns go out. A session may stand meanwhile: jobs that come are taken, and begin when this is done.
   */
  async recover(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const jid = name.replace(/\.json$/u, "");
      const note = parseNote(await readFile(path, "utf8"));
      if (JID.test(jid) && note !== undefined && (await this.#hasNoReturn(jid))) {
        // a return that was being written when the minion was ended
        await this.#spool.remove(jid);
        const message = "the minion was ended while this job ran; how far it came is not known";
        this.#machine.log.warn({ jid, fun: note.fun }, message);
        await this.#courier.keep({
          jid,
          fun: note.fun,
          success: false,
          retcode: 1,
          startedAt: note.since,
          finishedAt: this.#machine.clock.now(),
          startup: false,
          data: note.fun.startsWith("state.") ? [message] : message,
        });
      }
      await rm(path, { force: true });
    }
    this.#recovered.resolve();
    this.#courier.begin();
  }

  /** False also for one that cannot be read now: it may be whole, and goes out when it can be read. */
  async #hasNoReturn(jid: string): Promise<boolean> {
    try {
      return (await this.#spool.get(jid)) === undefined;
    } catch (error) {
      this.#machine.log.error({ jid, err: error }, "cannot read the return of a job");
      return false;
    }
  }

  /** Resolves when nothing runs any more. */
  async idle(clock: Clock, signal: AbortSignal): Promise<void> {
    while (this.#running.size > 0 && !signal.aborted) await clock.sleep(20);
  }

  /** A job from the wire: its signature and sequence number are proven; whether it is for us is seen here. */
  take(job: Job): void {
    const { log, config } = this.#machine;
    if (job.target.kind === "ids" && !job.target.ids.includes(config.id)) return;
    const { jid, fun } = job;
    if (this.#running.has(jid) || this.#spool.has(jid)) {
      log.warn({ jid, fun }, "job came again: not run twice");
      return;
    }
    if (this.#spool.full()) {
      log.error({ jid, fun, returns: this.#spool.waiting().length }, "job refused: the spool of returns is full");
      return;
    }
    if (this.#running.size >= MAX_TAKEN && fun !== URGENT) {
      log.error({ jid, fun }, `job refused: ${MAX_TAKEN} jobs run or wait already`);
      return;
    }
    log.info({ jid, fun, seq: job.seq }, "job taken");
    this.#running.set(jid, { jid, fun, since: this.#machine.clock.now() });
    this.#link.connection.request("job.ack", { jid }).catch((error: unknown) => {
      log.debug({ jid, reason: errorMessage(error) }, "could not acknowledge a job");
    });
    this.#run(job).catch((error: unknown) => {
      log.error({ jid, fun, err: error }, "job failed in an unexpected way");
    });
  }

  async #run(job: Job): Promise<void> {
    const { jid, fun } = job;
    // its note must not be taken for one that a killed minion left
    await this.#recovered.promise;
    const isQueued = queuesForLock(fun);
    const release = isQueued || fun === URGENT ? () => {} : await this.#turn();
    const progress = createProgressSender(this.#link.connection, this.#machine.clock, jid);
    const startedAt = this.#machine.clock.now();
    try {
      const note = join(this.#directory, `${jid}.json`);
      if (isQueued) await this.#noteInOrder(note, { fun, since: startedAt });
      else await this.#note(note, { fun, since: startedAt });
      const options = { jid, fun, signal: this.#signal, waitMs: JOB_WAIT_MS, progress };
      const made = createJobContext(this.#machine, options);
      const result = await execute(job, made.context);
      // the note stands for a return that is in memory alone, should the minion be killed
      if (await this.#keep(jid, fun, startedAt, result, { startup: false })) await rm(note, { force: true });
      await made.report(job, result);
      await made.settle();
    } finally {
      this.#running.delete(jid);
      release();
    }
  }

  /** Runs what the minion gave itself; resolves when its return is on disk. */
  async runOwn(run: OwnRun): Promise<FunctionResult> {
    const { jid, call, waitMs, signal } = run;
    const { clock } = this.#machine;
    const startedAt = clock.now();
    this.#running.set(jid, { jid, fun: call.fun, since: startedAt });
    try {
      const progress = createProgressSender(this.#link.connection, clock, jid);
      const made = createJobContext(this.#machine, {
        jid,
        fun: call.fun,
        signal,
        waitMs,
        progress,
        ...(run.startup === undefined ? {} : { startup: run.startup }),
        moment: run.moment,
      });
      const result = await execute(call, made.context);
      signal.throwIfAborted();
      await this.#keep(jid, call.fun, startedAt, run.amend(result, made), { startup: true });
      // on its own time: services wait for the end of this run
      void made.report(call, result);
      await made.settle();
      return result;
    } finally {
      this.#running.delete(jid);
    }
  }

  async #keep(
    jid: string,
    fun: string,
    startedAt: number,
    { data, retcode }: FunctionResult,
    { startup }: { readonly startup: boolean },
  ): Promise<boolean> {
    const { clock, log } = this.#machine;
    const finishedAt = clock.now();
    const success = retcode === 0;
    const isDurable = await this.#courier.keep({ jid, fun, success, retcode, startedAt, finishedAt, startup, data });
    log.info({ jid, fun, success, retcode, ms: finishedAt - startedAt }, "job done");
    return isDurable;
  }

  /** On a full disk a job runs without its note: it may be the one that makes room. */
  async #note(path: string, note: { readonly fun: string; readonly since: number }): Promise<void> {
    try {
      await writeFile(path, JSON.stringify(note), { mode: 0o600 });
    } catch (error) {
      this.#machine.log.error({ path, err: error }, "cannot note on disk that a job begins");
    }
  }

  /** One after the other, so that runs come to their queue in the order in which their jobs came (I7). */
  async #noteInOrder(path: string, note: { readonly fun: string; readonly since: number }): Promise<void> {
    const before = this.#noted;
    const noted = (async () => {
      await before;
      await this.#note(path, note);
    })();
    this.#noted = noted;
    return noted;
  }

  /** Waits for one of the places. */
  async #turn(): Promise<() => void> {
    if (this.#busy >= MAX_RUNNING) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    } else this.#busy += 1;
    return () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy -= 1;
      else next();
    };
  }
}

/** What changes the machine by states waits for its turn without a place. */
function queuesForLock(fun: string): boolean {
  return functionNames().includes(fun) && findFunction(fun).kind === "states";
}

function parseNote(text: string): { readonly fun: string; readonly since: number } | undefined {
  try {
    return JSON.parse(text) as { readonly fun: string; readonly since: number };
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
