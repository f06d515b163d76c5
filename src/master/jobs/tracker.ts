import type { JobEvent } from "../../core/control-api.ts";
import type { ReturnRecord } from "./job-record.ts";
import { NOT_ACCEPTED } from "./named-ids.ts";

/** How long a job waits for whom, in milliseconds. */
export interface TrackerTiming {
  /** Without an acknowledgement, the envelope is sent once more, on the session itself. */
  readonly resendMs: number;
  /** After that, the host counts as missing. */
  readonly missingMs: number;
  /** After the last sign of life of a host that acknowledged. */
  readonly timeoutMs: number;
  /** The least that a connected host gets: room for its next heartbeat. */
  readonly heartbeatMs: number;
}

interface Waited {
  phase: "published" | "resent" | "acked" | "done";
  since: number;
}

/** What `tick` found: whom to send the envelope to again, and whether nothing is waited for any more. */
export interface Tick {
  readonly resend: readonly string[];
  readonly finished: boolean;
}

/**
 * Who of a job's targets acknowledged, returned, or went missing. Pure: time comes in, in milliseconds that only go
 * forward (a clock that is set must not lose a host, nor keep a dead one), events come out, in order. A host
 * counted as missing may still return later; the return is kept, and the verdict of the stream stays.
 */
export class JobTracker {
  readonly #hosts = new Map<string, Waited>();
  readonly #timing: TrackerTiming;
  readonly #emit: (event: JobEvent) => void;
  #succeeded = 0;
  #failed = 0;
  #missing: number;
  #open: number;
  #ended = false;

  constructor(
    job: {
      readonly jid: string;
      readonly online: readonly string[];
      readonly offline: readonly string[];
      /** Asked for by name, but no accepted minions. */
      readonly unknown: readonly string[];
    },
    timing: TrackerTiming,
    now: number,
    emit: (event: JobEvent) => void,
  ) {
    this.#timing = timing;
    this.#emit = emit;
    for (const id of job.online) this.#hosts.set(id, { phase: "published", since: now });
    this.#missing = job.offline.length + job.unknown.length;
    this.#open = job.online.length;
    const targets = [...job.online, ...job.offline, ...job.unknown].sort();
    emit({ event: "start", jid: job.jid, targets, offline: job.offline });
    for (const id of job.unknown) emit({ event: "missing", id, reason: NOT_ACCEPTED });
    this.#endIfDone();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether the job is still to be delivered to this host. */
  wanted(id: string): boolean {
    const phase = this.#hosts.get(id)?.phase;
    return !this.#ended && (phase === "published" || phase === "resent");
  }

  ack(id: string, now: number): void {
    const host = this.#hosts.get(id);
    if (host?.phase !== "published" && host?.phase !== "resent") return;
    host.phase = "acked";
    host.since = now;
    this.#emit({ event: "ack", id });
  }

  /** A heartbeat lists the job as running (or queued): a sign of life, and an acknowledgement if that was lost. */
  running(id: string, now: number): void {
    this.ack(id, now);
    const host = this.#hosts.get(id);
    if (host?.phase === "acked") host.since = now;
  }

  progress(id: string, now: number, step: { done: number; total: number; current: string }): void {
    if (!this.#hosts.has(id) || this.#hosts.get(id)?.phase === "done") return;
    this.running(id, now);
    this.#emit({ event: "progress", id, done: step.done, total: step.total, current: step.current });
  }

  returned(record: ReturnRecord): void {
    const host = this.#hosts.get(record.id);
    if (host === undefined || host.phase === "done" || this.#ended) return;
    host.phase = "done";
    this.#open -= 1;
    if (record.success) this.#succeeded += 1;
    else this.#failed += 1;
    const { id, fun, success, retcode, data, startedAt, finishedAt } = record;
    const durationMs = Math.max(0, finishedAt - startedAt);
    this.#emit({ event: "return", id, fun, success, retcode, data, durationMs });
    this.#endIfDone();
  }

  /** Looks at the deadlines. `connected` says whether a host has a live session. */
  tick(now: number, connected: (id: string) => boolean): Tick {
    const resend: string[] = [];
    const { resendMs, missingMs, timeoutMs, heartbeatMs } = this.#timing;
    for (const [id, host] of this.#hosts) {
      const waitedMs = now - host.since;
      const here = connected(id);
      if (host.phase === "published" && waitedMs >= resendMs) {
        host.phase = "resent";
        host.since = now;
        resend.push(id);
      } else if (host.phase === "resent" && waitedMs >= missingMs) {
        this.#lose(
          id,
          host,
          here ? "connected, but did not acknowledge the job" : "connection lost before the job arrived",
        );
      } else if (
        host.phase === "acked" &&
        waitedMs >= (here ? Math.max(timeoutMs, 2 * heartbeatMs + 1000) : timeoutMs)
      ) {
        this.#lose(
          id,
          host,
          here
            ? "no longer runs the job, but sent no return"
            : "connection lost during the job; its return is kept when it comes",
        );
      }
    }
    this.#endIfDone();
    return { resend, finished: this.#ended };
  }

  /** The master stops: whoever waits is told so. */
  abandon(reason: string): void {
    for (const [id, host] of this.#hosts) if (host.phase !== "done") this.#lose(id, host, reason);
    this.#endIfDone();
  }

  #lose(id: string, host: Waited, reason: string): void {
    host.phase = "done";
    this.#open -= 1;
    this.#missing += 1;
    this.#emit({ event: "missing", id, reason });
  }

  #endIfDone(): void {
    if (this.#ended || this.#open > 0) return;
    this.#ended = true;
    this.#emit({ event: "end", succeeded: this.#succeeded, failed: this.#failed, missing: this.#missing });
  }
}
