import { Worker } from "node:worker_threads";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { Ask } from "./answers.ts";
import type { Judgement } from "./expression.ts";
import { HostTime } from "./host-time.ts";
import { cpuMs, ThreadProgress } from "./thread-progress.ts";

/** An evaluation that was ended, or ended its thread. */
export interface Overrun {
  readonly host: string;
  readonly problem: string;
  /** The expressions that were under way. */
  readonly expressions: readonly string[];
}

export interface ExpressionThreadOptions {
  /** Hears of each overrun. */
  readonly overran: (overrun: Overrun) => void;
  readonly clock?: Clock;
  /** How much CPU time the expressions of one decision may take together; by the clock, `SLOWEST` times as long. */
  readonly deadlineMs?: number;
  /** What runs in the thread: in a bundle one of its files. */
  readonly entry?: URL;
}

interface Batch {
  readonly host: string;
  readonly asks: readonly Ask[];
  readonly settle: (answers: readonly Judgement[]) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly progress: ThreadProgress;
  /** Answers that came from it. */
  answered: number;
}

const DEADLINE_MS = 250;
/** On a machine that has no core for the thread an honest host's expression must not be taken for a hostile one's. */
const SLOWEST = 10;
/** The least time after which is looked again. */
const AGAIN_MS = 10;
/** Decisions whose expressions are in the thread at once, of a host each: this thread, when busy, gets all their answers in one turn. */
const MAX_UNDER_WAY = 16;
/** What a host pays for an overrun: it gets no answer for as long as that takes to come back, 30 s. */
const OVERRUN_MS = 2000;
/** A thread that does not start within this is given up. */
const START_MS = 10_000;
/** A host asks for its secrets at the same time; more wait for no good reason. */
const MAX_WAITING = 64;
/** The thread's own program: a source beside the sources, a file of its own in a bundle. */
function ownEntry(): URL {
  const name = import.meta.url.endsWith(".ts") ? "../../main-expressions.ts" : "./expressions.mjs";
  return new URL(name, import.meta.url);
}

/**
 * Evaluates the expressions of a release policy in a thread of its own, one decision after the other and host by host in turn,
 * each within a bound of time: what takes longer is ended together with its thread, has a problem for an answer, and costs its host
 * the time that it may use. The thread starts with the first expression, dies with the master, and keeps nothing alive.
 */
export class ExpressionThread {
  readonly #options: ExpressionThreadOptions;
  readonly #time: HostTime;
  readonly #waiting = new Map<string, Batch[]>();
  #thread: Thread | undefined;
  #isReady = false;
  /** In the thread, in the order in which it takes them. */
  #underWay: Batch[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: ExpressionThreadOptions) {
    this.#options = options;
    this.#time = new HostTime(options.clock ?? systemClock);
  }

  /** Starts the thread before it is needed. */
  start(): void {
    if (!this.#thread && !this.#isClosed) this.#thread = this.#begin();
  }

  /** What the expressions come to; each has a problem when they took too long, or the host has used up its time. */
  async evaluate(host: string, asks: readonly Ask[]): Promise<readonly Judgement[]> {
    const waiting = this.#waiting.get(host) ?? [];
    if (this.#isClosed || waiting.length >= MAX_WAITING || !this.#time.has(host)) {
      return allWith(asks, "the host has used up its time for expressions");
    }
    const { promise, resolve } = Promise.withResolvers<readonly Judgement[]>();
    this.#waiting.set(host, [...waiting, { host, asks, settle: resolve }]);
    this.start();
    this.#next();
    return promise;
  }

  /** Ends the thread; what waits has problems for answers. */
  close(): void {
    this.#isClosed = true;
    this.#fail("the master ends");
  }

  /** Number of the thread, undefined while there is none. */
  get threadId(): number | undefined {
    return this.#thread?.worker.threadId;
  }

  #begin(): Thread {
    const progress = new ThreadProgress();
    const worker = new Worker(this.#options.entry ?? ownEntry(), {
      env: {},
      execArgv: [],
      workerData: progress.shared,
      resourceLimits: { maxOldGenerationSizeMb: 64, stackSizeMb: 4 },
    });
    const thread = { worker, progress, answered: 0 };
    // a thread that was given up has no say any more
    const ifMine = (act: () => void) => {
      if (this.#thread === thread) act();
    };
    worker.on("message", (message: "ready" | { answers: readonly Judgement[]; tookMs: number }) =>
      ifMine(() => (message === "ready" ? this.#ready() : this.#answered(message.answers, message.tookMs))),
    );
    worker.on("error", (error: Error) => ifMine(() => this.#lost(error.message)));
    worker.on("exit", () => ifMine(() => this.#lost("its thread ended")));
    worker.unref();
    this.#isReady = false;
    this.#wait(START_MS, () => ifMine(() => this.#fail("the thread for expressions does not start")));
    return thread;
  }

  #ready(): void {
    clearTimeout(this.#timer);
    this.#isReady = true;
    this.#next();
  }

  /** Begins what waits, one host after the other, and of none more than one at once. */
  #next(): void {
    const thread = this.#thread;
    if (!thread || !this.#isReady) return;
    const isIdle = this.#underWay.length === 0;
    const busy = new Set(this.#underWay.map(({ host }) => host));
    for (const [host, [batch, ...more]] of this.#waiting) {
      if (this.#underWay.length >= MAX_UNDER_WAY) break;
      if (!batch || busy.has(host)) continue;
      this.#waiting.delete(host);
      if (more.length > 0) this.#waiting.set(host, more);
      if (!this.#time.has(host)) {
        batch.settle(allWith(batch.asks, "the host has used up its time for expressions"));
        continue;
      }
      busy.add(host);
      this.#underWay.push(batch);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      thread.worker.postMessage(batch.asks);
    }
    if (isIdle) this.#watch();
  }

  /** Looks after the first of those under way. */
  #watch(): void {
    clearTimeout(this.#timer);
    const thread = this.#thread;
    if (!thread || this.#underWay.length === 0) return;
    const { done } = thread.progress;
    const ms = this.#deadlineMs;
    this.#wait(ms, () => void this.#look(thread, done, ms));
  }

  get #deadlineMs(): number {
    return this.#options.deadlineMs ?? DEADLINE_MS;
  }

  /** What has been under way for so long is ended if it was busy all the time, or if it has had very long. */
  async #look(thread: Thread, done: number, passedMs: number): Promise<void> {
    const isOver = () => this.#thread !== thread || this.#underWay.length === 0;
    const leftMs = SLOWEST * this.#deadlineMs - passedMs;
    const end = () => this.#lost(`it took longer than ${this.#deadlineMs} ms`);
    // it may not answer at all
    this.#wait(leftMs, () => {
      if (!isOver() && thread.progress.done === done) end();
    });
    const usedMs = await thread.worker.cpuUsage().then(cpuMs, () => 0);
    if (isOver()) return;
    if (thread.progress.done !== done) return this.#watch();
    const busyMs = usedMs - thread.progress.beganMs;
    if (busyMs >= this.#deadlineMs || leftMs <= 0) return end();
    const moreMs = Math.min(leftMs, Math.max(AGAIN_MS, this.#deadlineMs - busyMs));
    this.#wait(moreMs, () => void this.#look(thread, done, passedMs + moreMs));
  }

  #answered(answers: readonly Judgement[], tookMs: number): void {
    if (this.#thread) this.#thread.answered += 1;
    const batch = this.#underWay.shift();
    if (batch) {
      this.#time.take(batch.host, tookMs);
      batch.settle(answers);
    }
    this.#watch();
    this.#next();
  }

  /** The evaluation under way ended its thread, or is ended with it; all others go on in another. */
  #lost(problem: string): void {
    const { progress, answered = 0 } = this.#thread ?? {};
    const batch = this.#underWay[(progress?.done ?? 0) - answered];
    if (!batch) {
      // it never came so far: another would not either
      this.#fail(`the thread for expressions failed: ${problem}`);
      return;
    }
    this.#again(this.#underWay.filter((other) => other !== batch));
    this.#drop();
    this.#time.take(batch.host, OVERRUN_MS);
    batch.settle(allWith(batch.asks, problem));
    this.#options.overran({ host: batch.host, problem, expressions: batch.asks.map(({ text }) => text) });
    if (this.#waiting.size > 0) this.start();
  }

  /** Has those wait again, before all others. */
  #again(batches: readonly Batch[]): void {
    const others = [...this.#waiting];
    this.#waiting.clear();
    for (const batch of batches) this.#waiting.set(batch.host, [batch]);
    for (const [host, waiting] of others) this.#waiting.set(host, [...(this.#waiting.get(host) ?? []), ...waiting]);
  }

  /** Ends the thread, and answers all that waits. */
  #fail(problem: string): void {
    const batches = [...this.#underWay, ...[...this.#waiting.values()].flat()];
    this.#waiting.clear();
    this.#drop();
    for (const batch of batches) batch.settle(allWith(batch.asks, problem));
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const worker = this.#thread?.worker;
    this.#thread = undefined;
    this.#underWay = [];
    void worker?.terminate();
  }

  #wait(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
    this.#timer.unref();
  }
}

const allWith = (asks: readonly Ask[], problem: string): readonly Judgement[] => asks.map(() => ({ problem }));
