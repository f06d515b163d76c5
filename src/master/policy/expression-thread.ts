import { Worker } from "node:worker_threads";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { Ask } from "./answers.ts";
import type { Judgement } from "./expression.ts";
import { HostTime } from "./host-time.ts";

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
  /** How long the expressions of one decision may take together. */
  readonly deadlineMs?: number;
  /** What runs in the thread: in a bundle one of its files. */
  readonly entry?: URL;
}

interface Batch {
  readonly host: string;
  readonly asks: readonly Ask[];
  readonly settle: (answers: readonly Judgement[]) => void;
}

const DEADLINE_MS = 250;
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
 * each within a deadline: what takes longer is ended together with its thread, has a problem for an answer, and costs its host
 * the time that it may use. The thread starts with the first expression, dies with the master, and keeps nothing alive.
 */
export class ExpressionThread {
  readonly #options: ExpressionThreadOptions;
  readonly #time: HostTime;
  readonly #waiting = new Map<string, Batch[]>();
  #worker: Worker | undefined;
  #isReady = false;
  #current: Batch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: ExpressionThreadOptions) {
    this.#options = options;
    this.#time = new HostTime(options.clock ?? systemClock);
  }

  /** Starts the thread before it is needed. */
  start(): void {
    if (!this.#worker && !this.#isClosed) this.#worker = this.#begin();
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
    return this.#worker?.threadId;
  }

  #begin(): Worker {
    const worker = new Worker(this.#options.entry ?? ownEntry(), {
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64, stackSizeMb: 4 },
    });
    // a thread that was given up has no say any more
    const ifMine = (act: () => void) => {
      if (this.#worker === worker) act();
    };
    worker.on("message", (message: "ready" | { answers: readonly Judgement[]; tookMs: number }) =>
      ifMine(() => (message === "ready" ? this.#ready() : this.#answered(message.answers, message.tookMs))),
    );
    worker.on("error", (error: Error) => ifMine(() => this.#lost(error.message)));
    worker.on("exit", () => ifMine(() => this.#lost("its thread ended")));
    worker.unref();
    this.#isReady = false;
    this.#wait(START_MS, () => ifMine(() => this.#fail("the thread for expressions does not start")));
    return worker;
  }

  #ready(): void {
    clearTimeout(this.#timer);
    this.#isReady = true;
    this.#next();
  }

  /** Begins what waits, one host after the other. */
  #next(): void {
    if (!this.#worker || !this.#isReady || this.#current) return;
    const [host, [batch, ...more] = []] = this.#waiting.entries().next().value ?? [];
    if (host === undefined || !batch) return;
    this.#waiting.delete(host);
    if (more.length > 0) this.#waiting.set(host, more);
    if (!this.#time.has(host)) {
      batch.settle(allWith(batch.asks, "the host has used up its time for expressions"));
      this.#next();
      return;
    }
    this.#current = batch;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(batch.asks);
    const { deadlineMs = DEADLINE_MS } = this.#options;
    this.#wait(deadlineMs, () => {
      // an answer that came while this thread was busy is taken first
      setImmediate(() => {
        if (this.#current === batch) this.#lost(`it took longer than ${deadlineMs} ms`);
      });
    });
  }

  #answered(answers: readonly Judgement[], tookMs: number): void {
    clearTimeout(this.#timer);
    const batch = this.#current;
    this.#current = undefined;
    if (batch) {
      this.#time.take(batch.host, tookMs);
      batch.settle(answers);
    }
    this.#next();
  }

  /** The evaluation under way ended its thread, or is ended with it; all others go on in another. */
  #lost(problem: string): void {
    const batch = this.#current;
    if (!batch) {
      // it never came so far: another would not either
      this.#fail(`the thread for expressions failed: ${problem}`);
      return;
    }
    this.#drop();
    this.#time.take(batch.host, OVERRUN_MS);
    batch.settle(allWith(batch.asks, problem));
    this.#options.overran({ host: batch.host, problem, expressions: batch.asks.map(({ text }) => text) });
    if (this.#waiting.size > 0) this.start();
  }

  /** Ends the thread, and answers all that waits. */
  #fail(problem: string): void {
    const batches = [this.#current, ...[...this.#waiting.values()].flat()];
    this.#waiting.clear();
    this.#drop();
    for (const batch of batches) batch?.settle(allWith(batch.asks, problem));
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const worker = this.#worker;
    this.#worker = undefined;
    this.#current = undefined;
    void worker?.terminate();
  }

  #wait(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
    this.#timer.unref();
  }
}

const allWith = (asks: readonly Ask[], problem: string): readonly Judgement[] => asks.map(() => ({ problem }));
