import { ProtocolError } from "../core/errors.ts";
import type { PublicIdentity } from "../core/identity.ts";
import type { Drops } from "./drop-counters.ts";
import type { JobPosition } from "./endpoints.ts";
import { openJob } from "./job-envelope.ts";
import { isEpochOf } from "./job-epoch.ts";
import type { Job, Response, SignedEpoch } from "./messages.ts";

/** The session that jobs are fetched on, and the master that must have signed them. */
export interface JobSource {
  readonly master: PublicIdentity;
  fetch(lastSeq: number): Promise<Response<"jobs.since">>;
}

export interface JobInboxOptions {
  readonly position: JobPosition;
  readonly drops: Drops;
  readonly deliver: (job: Job) => void;
  readonly report: (message: string, error: unknown) => void;
}

const MAX_WAITING = 1000;

/** A master's sequence: each master has one of its own. */
interface Place {
  readonly master: PublicIdentity;
  lastSeq: number;
}

/**
 * Hands out each job once, in order (I7): signed by the session's master, numbered above all of that master before, its number on
 * disk before it is handed out. A minion gets only what is meant for it, so most numbers never come: each job says which one
 * must have been taken before, and where we have not come so far, the master is asked.
 */
export class JobInbox {
  readonly #options: JobInboxOptions;
  /** Kept for the life of the process: what is still being written to disk counts when a master comes back. */
  readonly #places = new Map<string, Place>();
  #source: JobSource | undefined;
  #place: Place | undefined;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(options: JobInboxOptions) {
    this.#options = options;
  }

  /** A session began (or ended: undefined). */
  attach(source: JobSource | undefined): void {
    this.#source = source;
    this.#place = source && this.#placeOf(source.master);
  }

  /** An envelope that the master sent on the session; before it comes what has a number up to `after`. */
  noticed(envelope: Uint8Array, after: number, epoch: SignedEpoch): void {
    const job = this.#open(envelope);
    if (!job) return;
    this.#enqueue(async (place) => {
      await this.#keepEpoch(place, epoch);
      await this.#take(place, job, after);
    });
  }

  /** The master says on the session that we still have to take a job with number `seq`. */
  latest(seq: number): void {
    if (this.#place && seq > this.#place.lastSeq) this.#enqueue((place) => this.#fetchUpTo(place, seq));
  }

  #placeOf(master: PublicIdentity): Place {
    const name = Buffer.from(master.signKey).toString("hex");
    const place = this.#places.get(name) ?? { master, lastSeq: this.#options.position.lastSeq(master) };
    this.#places.set(name, place);
    return place;
  }

  #open(envelope: Uint8Array, place = this.#place): Job | undefined {
    const { drops } = this.#options;
    if (!place) return undefined;
    let job: Job | undefined;
    try {
      job = openJob(envelope, place.master.signKey);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      drops.add("bad-message");
      return undefined;
    }
    if (!job) drops.add("bad-signature");
    else if (job.seq <= place.lastSeq) drops.add("replayed");
    else return job;
    return undefined;
  }

  #enqueue(step: (place: Place) => Promise<void>): void {
    const place = this.#place;
    if (!place || this.#waiting >= MAX_WAITING) return;
    this.#waiting += 1;
    this.#tail = this.#after(this.#tail, place, step);
  }

  async #after(before: Promise<void>, place: Place, step: (place: Place) => Promise<void>): Promise<void> {
    await before;
    try {
      // what another master sent is asked for when that one is back
      if (this.#place === place) await step(place);
    } catch (error) {
      this.#options.report("cannot take a job", error);
    }
    this.#waiting -= 1;
  }

  async #take(place: Place, job: Job, after: number): Promise<void> {
    if (job.seq <= place.lastSeq) this.#options.drops.add("replayed");
    else if (after <= place.lastSeq) await this.#deliver(place, job);
    else await this.#fetchUpTo(place, job.seq);
  }

  /** An answer may hold less than all: the master's frames are bounded. */
  async #fetchUpTo(place: Place, seq: number): Promise<void> {
    let before = -1;
    while (seq > place.lastSeq && place.lastSeq > before && this.#place === place) {
      before = place.lastSeq;
      await this.#fetch(place);
    }
  }

  async #fetch(place: Place): Promise<void> {
    const source = this.#source;
    if (!source) return;
    const { envelopes, seq, epoch } = await source.fetch(place.lastSeq);
    await this.#keepEpoch(place, epoch);
    for (const envelope of envelopes) {
      const job = this.#open(envelope, place);
      if (job) await this.#deliver(place, job);
    }
    if (seq > place.lastSeq) await this.#advance(place, seq);
  }

  /** What cannot be kept holds up no job: it may be the one that makes room. */
  async #keepEpoch({ master }: Place, shown: SignedEpoch): Promise<void> {
    const { position, drops, report } = this.#options;
    if (shown.epoch <= (position.epoch(master)?.epoch ?? -1)) return;
    if (!isEpochOf(shown, master.signKey)) {
      drops.add("bad-signature");
      return;
    }
    try {
      await position.saveEpoch(master, shown);
    } catch (error) {
      report("cannot keep the master's epoch of jobs", error);
    }
  }

  async #deliver(place: Place, job: Job): Promise<void> {
    await this.#advance(place, job.seq);
    this.#options.deliver(job);
  }

  async #advance(place: Place, seq: number): Promise<void> {
    await this.#options.position.saveSeq(place.master, seq);
    place.lastSeq = seq;
  }
}
