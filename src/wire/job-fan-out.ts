import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import type { PeerSession } from "./endpoints.ts";
import type { Notice, SignedEpoch } from "./messages.ts";
import { FAN_OUT_BATCH, FAN_OUT_BYTES, FAN_OUT_PATIENCE_MS } from "./limits.ts";

/** One host's session, and what its notice says of the job before. */
export interface JobDelivery {
  readonly session: Pick<PeerSession, "close" | "notify">;
  /** Highest number of an earlier job that this host may still have to take; 0 for none. */
  readonly after: number;
}

/** A job on its way to many hosts. */
export interface JobRound {
  readonly envelope: Uint8Array;
  readonly epoch: SignedEpoch;
  readonly ids: readonly string[];
  /** Asked when the host's turn comes; undefined when it is not to be sent there (any more). */
  readonly find: (id: string) => JobDelivery | undefined;
}

export interface JobFanOutOptions {
  readonly clock: Clock;
  /** Hears why a session could not be told. */
  readonly report: (id: string, error: unknown) => void;
}

type JobNotice = Extract<Notice, { readonly kind: "job" }>;

interface Sending {
  readonly bytes: number;
  readonly session: JobDelivery["session"];
}

/**
 * Sends a job to each host's session, one job after the other. Of what is sealed and not yet taken by the transport it
 * holds no more than `FAN_OUT_BYTES` (one copy at least); when nothing moves for `FAN_OUT_PATIENCE_MS` while others wait, the session
 * that is slowest ends: that host asks for what it missed when it is back. Between batches all else gets its turn.
 */
export class JobFanOut {
  readonly #options: JobFanOutOptions;
  /** Oldest first. */
  readonly #sending = new Set<Sending>();
  #bytes = 0;
  #moved = Promise.withResolvers<void>();
  #tail: Promise<void> = Promise.resolve();

  constructor(options: JobFanOutOptions) {
    this.#options = options;
  }

  /** Resolves when each host's copy was handed to the transport. Never rejects. */
  async send(round: JobRound): Promise<void> {
    this.#tail = this.#after(this.#tail, round);
    return this.#tail;
  }

  /** Bytes that are sealed and not yet taken. */
  get heldBytes(): number {
    return this.#bytes;
  }

  async #after(before: Promise<void>, { envelope, epoch, ids, find }: JobRound): Promise<void> {
    await before;
    const bytes = envelope.length;
    let sent = 0;
    for (const id of ids) {
      await this.#room(bytes);
      const delivery = find(id);
      if (!delivery) continue;
      void this.#tell(id, delivery, { kind: "job", envelope, epoch, after: delivery.after });
      sent += Math.max(1, Math.ceil((bytes * FAN_OUT_BATCH) / FAN_OUT_BYTES));
      if (sent < FAN_OUT_BATCH) continue;
      sent = 0;
      await nextTurn();
    }
  }

  async #tell(id: string, { session }: JobDelivery, notice: JobNotice): Promise<void> {
    const sending = { bytes: notice.envelope.length, session };
    this.#sending.add(sending);
    this.#bytes += sending.bytes;
    try {
      await session.notify(notice);
    } catch (error) {
      this.#options.report(id, error);
    }
    this.#release(sending);
  }

  #release(sending: Sending): void {
    if (!this.#sending.delete(sending)) return;
    this.#bytes -= sending.bytes;
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }

  async #room(bytes: number): Promise<void> {
    while (this.#bytes > 0 && this.#bytes + bytes > FAN_OUT_BYTES) {
      const patience = new AbortController();
      const late = this.#options.clock.sleep(FAN_OUT_PATIENCE_MS, patience.signal).then(
        () => true,
        () => false,
      );
      const isLate = await Promise.race([late, this.#moved.promise.then(() => false)]);
      patience.abort();
      const [slowest] = this.#sending;
      if (!isLate || !slowest) continue;
      slowest.session.close();
      this.#release(slowest);
    }
  }
}
