import type { Clock } from "../core/clock.ts";
import { errorMessage } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { boundedReturn } from "./bounded-return.ts";
import type { Link } from "./link.ts";
import type { JobReturn, Spool } from "./spool.ts";

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 60_000;

/** Brings returns to the master (I8): from the spool, oldest first, again and again until it answers that it has them. */
export class Courier {
  readonly #spool: Spool;
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  #round: Promise<void> | undefined;
  #again = false;
  #begun = false;

  constructor(spool: Spool, link: Link, clock: Clock, log: Logger, signal: AbortSignal) {
    this.#spool = spool;
    this.#link = link;
    this.#clock = clock;
    this.#log = log;
    this.#signal = signal;
  }

  /**
   * Keeps a return; resolves when it is on disk, or with false when the disk takes nothing and it is in memory alone. It is
   * sent on its own time.
   */
  async keep(entry: JobReturn): Promise<boolean> {
    const failure = await this.#spool.put(boundedReturn(entry));
    if (failure) {
      const { jid, fun } = entry;
      this.#log.error(
        { jid, fun, err: failure },
        "a return cannot be written to disk: kept in memory until it is sent",
      );
    }
    this.deliver();
    return failure === undefined;
  }

  /** Lets returns go out. Not before it is known which of those on disk a killed minion had not finished writing. */
  begin(): void {
    this.#begun = true;
    this.deliver();
  }

  /** Sends what waits, if it is not being sent already. Also to be called when a session begins. */
  deliver(): void {
    if (!this.#begun) return;
    if (this.#round !== undefined) {
      this.#again = true;
      return;
    }
    this.#round = this.#deliverAll()
      .catch((error: unknown) => {
        if (!this.#signal.aborted) this.#log.error({ err: error }, "returns could not be sent");
      })
      .finally(() => {
        this.#round = undefined;
        if (this.#again && !this.#signal.aborted) this.deliver();
      });
  }

  async #deliverAll(): Promise<void> {
    let pauseMs = RETRY_MIN_MS;
    for (;;) {
      this.#again = false;
      const left = await this.#deliverRound();
      if (left === 0 && !this.#again) return;
      if (left === 0) continue;
      await this.#clock.sleep(pauseMs, this.#signal);
      pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS);
    }
  }

  /** One try for each; the number of those that could not be read, or that the master would not take. */
  async #deliverRound(): Promise<number> {
    const patience = { waitMs: Number.POSITIVE_INFINITY, signal: this.#signal };
    let refused = 0;
    for (const jid of this.#spool.waiting()) {
      let fun = "";
      try {
        const entry = await this.#spool.get(jid);
        if (entry === undefined) this.#log.error({ jid }, "a return on disk is damaged and was dropped");
        fun = entry?.fun ?? "";
        if (entry !== undefined) await this.#link.ask("return", entry, patience);
        await this.#spool.remove(jid);
      } catch (thrown) {
        this.#signal.throwIfAborted();
        refused += 1;
        this.#log.error(
          { jid, fun, reason: errorMessage(thrown) },
          "a return could not be brought to the master; kept",
        );
      }
    }
    return refused;
  }
}
