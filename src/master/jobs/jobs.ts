import type { AuditFact } from "../../core/audit/chain.ts";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { JobEvent, JobRequest } from "../../core/control-api.ts";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import type { Identity } from "../../core/identity.ts";
import { Lane } from "../../core/lane.ts";
import type { Logger } from "../../core/log.ts";
import { targetMatcher } from "../../sls/target.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import { type JobDelivery, JobFanOut } from "../../wire/job-fan-out.ts";
import { MAX_JOB_BYTES } from "../../wire/limits.ts";
import type { Job, Request, Response } from "../../wire/messages.ts";
import type { EventBus } from "../events.ts";
import type { Hosts } from "../hosts.ts";
import { onlyLooks } from "../release/askers.ts";
import type { NotePush } from "../release/pushes.ts";
import { putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";
import { jobFact } from "./job-fact.ts";
import { JobNumbers } from "./job-numbers.ts";
import { type JobRecord, jobKey } from "./job-record.ts";
import { unknownIds } from "./named-ids.ts";
import type { Returns } from "./returns.ts";
import { JobStream } from "./stream.ts";
import { JobTracker } from "./tracker.ts";

/** What jobs work with. */
export interface JobsOptions {
  readonly store: Store;
  /** Keeps an audit record and writes the changes with it, all or nothing. */
  readonly journal: (fact: AuditFact, changes: readonly Change[]) => Promise<unknown>;
  readonly hosts: Hosts;
  readonly returns: Returns;
  readonly events: EventBus;
  readonly log: Logger;
  /** Signs epochs of job numbers. */
  readonly identity: Pick<Identity, "public" | "sign">;
  /** The signed envelope of a job. */
  readonly sign: (job: Job) => Uint8Array;
  /** Ids that a target may match. */
  readonly acceptedIds: () => readonly string[];
  readonly keepMs: number;
  readonly heartbeatMs: number;
  readonly resendMs?: number;
  readonly missingMs?: number;
  readonly clock?: Clock;
}

/** Whom a target means. */
interface Asked {
  readonly online: readonly string[];
  readonly offline: readonly string[];
  /** Named, and not accepted. */
  readonly unknown: readonly string[];
}

interface Live {
  readonly job: Job;
  readonly tracker: JobTracker;
  readonly envelope: Uint8Array;
}

const TICK_MS = 100;
/** Most bytes of envelopes in one answer to `jobs.since`, unless a single one is larger. */
const SINCE_BYTES = 4 * 1024 * 1024;
/** With more targets than this a job goes out without their names, when it is meant for all who are there. */
const MAX_NAMED = 50;

/**
 * Jobs from request to last return. A job reaches a minion only while somebody is still told about it: who is named
 * offline or missing does not run it later, so a command of yesterday never runs at a boot of today.
 */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #clock: Clock;
  readonly #lane = new Lane();
  readonly #live = new Map<string, Live>();
  readonly #ticker: NodeJS.Timeout;
  readonly #fanOut: JobFanOut;
  readonly #numbers: JobNumbers;
  /** Jobs up to this number are out: who asks hears of each that is meant for it. */
  #out: number;

  private constructor(options: JobsOptions, numbers: JobNumbers) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#fanOut = new JobFanOut({
      clock: this.#clock,
      report: (id, error) => options.log.debug({ id, err: errorMessage(error) }, "cannot send a job"),
    });
    this.#numbers = numbers;
    this.#out = numbers.seq;
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#ticker.unref();
  }

  /** Takes up the sequence where the store has it, in a new epoch. */
  static async load(options: JobsOptions): Promise<Jobs> {
    return new Jobs(options, await JobNumbers.load({ ...options, clock: options.clock ?? systemClock }));
  }

  /** The number of the last job. */
  get seq(): number {
    return this.#numbers.seq;
  }

  /** Claims of hosts about job numbers that were not believed, since the start. */
  get unprovenClaims(): number {
    return this.#numbers.unprovenClaims;
  }

  /** An agent says how far it has come, and what shows it; to be heard before any job is sent to it. */
  async greeted(id: string, hello: Pick<Request<"hello">, "epoch" | "lastSeq">): Promise<void> {
    const { epoch } = hello;
    if (this.#numbers.isNews(epoch)) {
      await this.#lane.run(async () => {
        await this.#numbers.show(id, epoch);
        this.#out = this.#numbers.seq;
      });
    }
    this.#numbers.claimed(id, hello);
  }

  /**
   * Publishes a job and returns its events as they come, `start` first. Throws ConfigError `bad-target`, `job-too-large`, HostError `job-numbers-spent`, and what `note`
   * rejects with: then nothing is published. An id that the target names and that is not accepted is missing at once. What it published runs on when the reader goes away.
   */
  async start(request: JobRequest, note?: NotePush): Promise<JobStream> {
    const matches = targetMatcher(request.target.kind, request.target.expr);
    const { hosts, acceptedIds } = this.#options;
    const accepted = acceptedIds();
    const unknown = unknownIds(request.target, accepted);
    const targets = accepted.filter((id) => matches({ id, grains: hosts.grains(id) ?? {} }));
    const present = await Promise.all(targets.map(async (id) => this.#isThere(id)));
    const online = targets.filter((_, index) => present[index] === true);
    const offline = targets.filter((_, index) => present[index] !== true);
    return this.#lane.run(async () => this.#publish(request, { online, offline, unknown }, note));
  }

  /** The minion has the job and will run it. */
  acked(id: string, { jid }: Request<"job.ack">): void {
    this.#live.get(jid)?.tracker.ack(id, this.#clock.monotonicMs());
  }

  progressed(id: string, step: Request<"job.progress">): void {
    this.#live.get(step.jid)?.tracker.progress(id, this.#clock.monotonicMs(), step);
  }

  /** A heartbeat says what the minion runs. */
  heartbeat(id: string, { running }: Request<"heartbeat">): void {
    for (const { jid } of running) this.#live.get(jid)?.tracker.running(id, this.#clock.monotonicMs());
  }

  /** Keeps a return; resolves when it is on disk (I8). */
  async returned(id: string, body: Request<"return">): Promise<void> {
    const record = await this.#options.returns.keep(id, body);
    if (record !== undefined) this.#live.get(record.jid)?.tracker.returned(record);
  }

  /** Envelopes after `lastSeq` that are meant for this minion and still wanted, as many as fit. */
  since(id: string, lastSeq: number): Response<"jobs.since"> {
    const wanted = [...this.#live.values()].filter(({ job, tracker }) => job.seq > lastSeq && tracker.wanted(id));
    const { epoch } = this.#numbers;
    const envelopes: Uint8Array[] = [];
    let bytes = 0;
    let upTo = lastSeq;
    for (const { job, envelope } of wanted.toSorted((a, b) => a.job.seq - b.job.seq)) {
      bytes += envelope.length;
      if (envelopes.length > 0 && bytes > SINCE_BYTES) return { envelopes, seq: upTo, epoch };
      envelopes.push(envelope);
      upTo = job.seq;
    }
    return { envelopes, seq: this.#out, epoch };
  }

  /** Highest number, below `before`, of a job that this minion still has to take; 0 for none. */
  awaited(id: string, before = Number.POSITIVE_INFINITY): number {
    let highest = 0;
    for (const { job, tracker } of this.#live.values()) {
      if (job.seq > highest && job.seq < before && tracker.wanted(id)) highest = job.seq;
    }
    return highest;
  }

  /** The master stops: whoever watches is told. */
  close(): void {
    clearInterval(this.#ticker);
    for (const { tracker } of this.#live.values())
      tracker.abandon("the master stops; the return is kept when it comes");
    this.#live.clear();
  }

  async #isThere(id: string): Promise<boolean> {
    const session: PeerSession | undefined = this.#options.hosts.session(id);
    if (session === undefined) return false;
    let there = false;
    try {
      there = await session.notify({ kind: "probe" });
    } catch (error) {
      this.#options.log.debug({ id, err: errorMessage(error) }, "cannot probe a session");
    }
    if (!there) session.close();
    return there;
  }

  async #publish(
    request: JobRequest,
    { online, offline, unknown }: Asked,
    note: NotePush | undefined,
  ): Promise<JobStream> {
    const { store, journal, events, log, keepMs, heartbeatMs } = this.#options;
    const now = this.#clock.now();
    const number = this.#numbers.next(now);
    const { seq, jid } = number;
    const { fun, args, kwargs } = request;
    const ids = [...online, ...offline].sort();
    const target = this.#wireTarget(online);
    const job: Job = { jid, seq, issuedAt: now, fun, args: [...args], kwargs: { ...kwargs }, target };
    const envelope = online.length === 0 ? undefined : this.#sign(job);
    const record: JobRecord = { jid, seq, issuedAt: now, fun, args: [...args], kwargs, target: request.target, ids };
    const changes = [this.#numbers.change(number), putRecord(jobKey(jid), record, { ttlMs: keepMs })];
    // on record before any host hears of it, in the same write
    if (onlyLooks(fun)) await store.write(changes);
    else await journal(jobFact(record, request), changes);
    this.#numbers.took(number);
    await note?.({ jid, fun, ids: online });
    const stream = new JobStream();
    const { resendMs = 2000, missingMs = 5000 } = this.#options;
    const { timeoutMs } = request;
    // who does not even acknowledge is not waited for longer than was asked for
    const resend = Math.min(resendMs, timeoutMs / 2);
    const timing = { resendMs: resend, missingMs: Math.min(missingMs, timeoutMs - resend), timeoutMs, heartbeatMs };
    const push = (event: JobEvent) => stream.push(event);
    const begun = this.#clock.monotonicMs();
    const tracker = new JobTracker({ jid, online, offline, unknown }, timing, begun, push);
    log.info({ jid, fun, targets: ids.length, offline: offline.length }, "job");
    events.emit(`job/${jid}/new`, { jid, fun, targets: ids, offline });
    if (envelope) {
      // in place before it goes out: an answer may come back at once
      const live: Live = { job, tracker, envelope };
      this.#live.set(jid, live);
      void this.#send(live, online);
    }
    this.#out = seq;
    return stream;
  }

  /** Throws ConfigError `job-too-large`. */
  #sign(job: Job): Uint8Array {
    const envelope = this.#options.sign(job);
    const { length } = envelope;
    if (length <= MAX_JOB_BYTES) return envelope;
    throw new ConfigError("job-too-large", `cannot start a job of ${length} bytes: the most is ${MAX_JOB_BYTES}`, {
      hint: "put what is large into the file roots",
    });
  }

  /** On each host's session of the moment; one that has none, or ends, asks for the job when it is back. */
  async #send({ job, tracker, envelope }: Live, ids: readonly string[]): Promise<void> {
    const find = (id: string): JobDelivery | undefined => {
      const session = tracker.wanted(id) ? this.#options.hosts.session(id) : undefined;
      return session && { session, after: this.awaited(id, job.seq) };
    };
    await this.#fanOut.send({ envelope, epoch: this.#numbers.epoch, ids, find });
  }

  #wireTarget(online: readonly string[]): Job["target"] {
    const everybody = online.length === this.#options.hosts.connectedIds().length;
    return online.length > MAX_NAMED && everybody ? { kind: "all" } : { kind: "ids", ids: [...online] };
  }

  #tick(): void {
    const now = this.#clock.monotonicMs();
    const { hosts } = this.#options;
    for (const [jid, live] of this.#live) {
      const { resend, finished } = live.tracker.tick(now, (id) => hosts.session(id) !== undefined);
      if (resend.length > 0) void this.#send(live, resend);
      if (finished) this.#live.delete(jid);
    }
  }
}
