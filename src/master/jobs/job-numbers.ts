import { randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { HostError } from "../../core/errors.ts";
import type { Identity } from "../../core/identity.ts";
import { jidAt } from "../../core/ids.ts";
import type { Logger } from "../../core/log.ts";
import { z } from "../../core/schema.ts";
import { EPOCH_JOBS, epochOf, isEpochOf, MAX_EPOCH, signEpoch } from "../../wire/job-epoch.ts";
import type { Request, SignedEpoch } from "../../wire/messages.ts";
import type { EventBus } from "../events.ts";
import { Throttle } from "../leases/throttle.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";

const SEQ_KEY = "meta/job-seq";
const seqSchema = z.object({ seq: z.number().int(), jid: z.string() });

/** Above every number of a master that knew no epochs: what one host said moved those, up to 2^48. */
const FIRST_EPOCH = 2 ** 48 / EPOCH_JOBS + 1;

/** Unproven claims of one host that are told of: so many at once, then one in so many milliseconds. */
const UNPROVEN = { burst: 3, everyMs: 3_600_000 };

const NONCE_BYTES = 16;

export interface JobNumbersOptions {
  readonly store: Store;
  readonly identity: Pick<Identity, "public" | "sign">;
  readonly events: EventBus;
  readonly log: Pick<Logger, "error" | "warn">;
  readonly clock: Clock;
}

/** The number of a job and its id. */
export interface JobNumber {
  readonly seq: number;
  readonly jid: string;
}

/**
 * The master's sequence of jobs. Each start of a master begins a new epoch, above all before; and so does the sight of an
 * epoch that this master signed and its store knows nothing of, which is how a store from a backup shows. Nothing else that a
 * host says moves the numbers. Its methods are called one at a time.
 */
export class JobNumbers {
  readonly #options: JobNumbersOptions;
  readonly #unproven: Throttle;
  #seq: number;
  #lastJid: string;
  #epoch: SignedEpoch;
  #unprovenClaims = 0;

  private constructor(options: JobNumbersOptions, last: JobNumber) {
    this.#options = options;
    this.#unproven = new Throttle(UNPROVEN.burst, UNPROVEN.everyMs, options.clock);
    this.#seq = last.seq;
    this.#lastJid = last.jid;
    this.#epoch = this.#sign(epochOf(last.seq));
  }

  /** Takes the sequence up where the store has it, in a new epoch that is on disk when it resolves. */
  static async load(options: JobNumbersOptions): Promise<JobNumbers> {
    const entry = await options.store.get(SEQ_KEY);
    const last = entry === undefined ? { seq: 0, jid: "" } : decodeRecord(seqSchema, entry);
    const numbers = new JobNumbers(options, last);
    await numbers.#begin(Math.max(FIRST_EPOCH, epochOf(last.seq) + 1));
    return numbers;
  }

  /** The last number that was taken. */
  get seq(): number {
    return this.#seq;
  }

  /** The epoch of the next job, signed: a host shows it when it comes back. */
  get epoch(): SignedEpoch {
    return this.#epoch;
  }

  /** Claims of hosts that had no proof, and were higher than our own number, since the start. */
  get unprovenClaims(): number {
    return this.#unprovenClaims;
  }

  /** The next number and id, later than all before also when the clock went back. Throws HostError `job-numbers-spent`. */
  next(now: number): JobNumber {
    const seq = this.#seq + 1;
    if (!Number.isSafeInteger(seq)) {
      throw new HostError("job-numbers-spent", "cannot start a job: this master's job numbers are used up", {
        hint: "only a master with a new identity can go on",
      });
    }
    const jid = jidAt(now, 0);
    if (jid > this.#lastJid) return { seq, jid };
    return { seq, jid: (BigInt(this.#lastJid) + 1n).toString().padStart(20, "0") };
  }

  /** What makes a number durable; `took` follows. */
  change(number: JobNumber): Change {
    return putRecord(SEQ_KEY, number);
  }

  took({ seq, jid }: JobNumber): void {
    this.#seq = seq;
    this.#lastJid = jid;
    if (epochOf(seq) !== this.#epoch.epoch) this.#epoch = this.#sign(epochOf(seq));
  }

  /** Whether a host shows an epoch that may be one of ours and is not known here. Cheap for all that is older. */
  isNews(shown: SignedEpoch | undefined): shown is SignedEpoch {
    if (shown === undefined || shown.epoch < this.#epoch.epoch) return false;
    return shown.epoch > this.#epoch.epoch || !Buffer.from(shown.nonce).equals(this.#epoch.nonce);
  }

  /** Goes on above an epoch that this master signed and does not know: on disk when it resolves. */
  async show(id: string, shown: SignedEpoch): Promise<void> {
    const { identity, events, log } = this.#options;
    if (!this.isNews(shown) || !isEpochOf(shown, identity.public.signKey)) return;
    const from = this.#seq;
    await this.#begin(shown.epoch + 1);
    const facts = { id, from, to: this.#seq };
    log.warn(facts, "a minion has an epoch of jobs that this store knows nothing of: the numbers go on above it");
    events.emit(`job-numbers/raised/${id}`, facts);
  }

  /** A host says how far it has come. Higher than our own number it can be only by a mistake, or a lie: told of, never believed. */
  claimed(id: string, { lastSeq }: Pick<Request<"hello">, "lastSeq">): void {
    if (lastSeq <= this.#seq) return;
    this.#unprovenClaims += 1;
    const suppressed = this.#unproven.take(id);
    if (suppressed === undefined) return;
    const facts = { id, lastSeq, seq: this.#seq, suppressed };
    this.#options.log.warn(facts, "a minion claims a job number without proof: it takes no job until ours is higher");
    this.#options.events.emit(`job-numbers/unproven/${id}`, facts);
  }

  async #begin(epoch: number): Promise<void> {
    const { store, log } = this.#options;
    if (epoch > MAX_EPOCH) {
      log.error({ seq: this.#seq }, "the epochs of this master's job numbers are used up: it goes on in the last one");
      return;
    }
    const seq = epoch * EPOCH_JOBS;
    await store.write([putRecord(SEQ_KEY, { seq, jid: this.#lastJid })]);
    this.#seq = seq;
    this.#epoch = this.#sign(epoch);
  }

  #sign(epoch: number): SignedEpoch {
    return signEpoch(epoch, randomBytes(NONCE_BYTES), this.#options.identity.sign);
  }
}
