import type { Clock } from "../core/clock.ts";
import { ProtocolError } from "../core/errors.ts";
import type { Drops } from "./drop-counters.ts";
import type { JobPosition } from "./endpoints.ts";
import { openJob } from "./job-envelope.ts";
import { CLOCK_WINDOW_MS } from "./limits.ts";
import type { Job } from "./messages.ts";

/** The session that jobs are fetched on, and the key that must have signed them. */
export interface JobSource {
  readonly masterKey: Uint8Array;
  fetch(lastSeq: number): Promise<{ readonly envelopes: readonly Uint8Array[]; readonly seq: number }>;
}

export interface JobInboxOptions {
  readonly position: JobPosition;
  readonly clock: Clock;
  readonly drops: Drops;
  readonly deliver: (job: Job) => void;
  readonly report: (message: string, error: unknown) => void;
}

const MAX_WAITING = 1000;
const HINT_INTERVAL_MS = 1000;

/**
 * Hands out each job once, in order (I7), wherever it came from: signed by the master, numbered above all before, its
 * number on disk before it is handed out. Where numbers are missing it asks the master for what was meant for us.
 */
export class JobInbox {
  readonly #options: JobInboxOptions;
  #lastSeq: number;
  #source: JobSource | undefined;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  #hintedAt = Number.NEGATIVE_INFINITY;

  constructor(options: JobInboxOptions) {
    this.#options = options;
    this.#lastSeq = options.position.lastSeq;
  }

  /** Highest number handed out or skipped so far. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** A session began (or ended: undefined). */
  attach(source: JobSource | undefined): void {
    this.#source = source;
  }

  /** A published envelope: anyone with the fleet key may have sent it, at any time. */
  published(envelope: Uint8Array): void {
    const job = this.#open(envelope);
    if (!job) return;
    // a wrong clock on our side must not lose jobs: what looks stale is asked for on the session
    const stale = Math.abs(this.#options.clock.now() - job.issuedAt) > CLOCK_WINDOW_MS;
    if (stale) this.#options.drops.add("stale");
    this.#enqueue(() => this.#take(job, !stale));
  }

  /** An envelope that the master sent on the session itself. */
  noticed(envelope: Uint8Array): void {
    const job = this.#open(envelope);
    if (job) this.#enqueue(() => this.#take(job, true));
  }

  /** The master says on the session that its sequence stands at `seq`. */
  latest(seq: number): void {
    if (seq > this.#lastSeq) this.#enqueue(() => this.#fetchUpTo(seq));
  }

  /** Something may have been missed; asks at most once a second. */
  hint(): void {
    const now = this.#options.clock.monotonicMs();
    if (now - this.#hintedAt < HINT_INTERVAL_MS) return;
    this.#hintedAt = now;
    this.#enqueue(() => this.#fetch());
  }

  #open(envelope: Uint8Array): Job | undefined {
    const { drops } = this.#options;
    if (!this.#source) return undefined;
    let job: Job | undefined;
    try {
      job = openJob(envelope, this.#source.masterKey);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      drops.add("bad-message");
      return undefined;
    }
    if (!job) drops.add("bad-signature");
    else if (job.seq <= this.#lastSeq) drops.add("replayed");
    else return job;
    return undefined;
  }

  #enqueue(step: () => Promise<void>): void {
    if (this.#waiting >= MAX_WAITING) return;
    this.#waiting += 1;
    this.#tail = this.#after(this.#tail, step);
  }

  async #after(before: Promise<void>, step: () => Promise<void>): Promise<void> {
    await before;
    try {
      await step();
    } catch (error) {
      this.#options.report("cannot take a job", error);
    }
    this.#waiting -= 1;
  }

  async #take(job: Job, believed: boolean): Promise<void> {
    if (job.seq <= this.#lastSeq) this.#options.drops.add("replayed");
    else if (believed && job.seq === this.#lastSeq + 1) await this.#deliver(job);
    else await this.#fetchUpTo(job.seq);
  }

  async #fetchUpTo(seq: number): Promise<void> {
    if (seq > this.#lastSeq) await this.#fetch();
  }

  async #fetch(): Promise<void> {
    const source = this.#source;
    if (!source) return;
    const { envelopes, seq } = await source.fetch(this.#lastSeq);
    for (const envelope of envelopes) {
      const job = this.#open(envelope);
      if (job) await this.#deliver(job);
    }
    if (seq > this.#lastSeq) await this.#advance(seq);
  }

  async #deliver(job: Job): Promise<void> {
    await this.#advance(job.seq);
    this.#options.deliver(job);
  }

  async #advance(seq: number): Promise<void> {
    await this.#options.position.saveSeq(seq);
    this.#lastSeq = seq;
  }
}
