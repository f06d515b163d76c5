import type { Clock } from "../core/clock.ts";
import { AuthError, ProtocolError, TransportError } from "../core/errors.ts";
import type { Method } from "./messages.ts";
import { type FailureCode, parseResponse } from "./packets.ts";

interface Pending {
  readonly method: Method;
  readonly deadline: number;
  readonly resolve: (body: unknown) => void;
  readonly reject: (error: unknown) => void;
}

const TICK_MS = 50;

/** Requests of one session that wait for their answers. */
export class PendingRequests {
  readonly #clock: Clock;
  readonly #entries = new Map<number, Pending>();
  #lastId = 0;
  #watching = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A number for a new request, and the promise of its answer: a body that matches the method's schema. */
  add(
    method: Method,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): { readonly id: number; readonly answer: Promise<unknown> } {
    signal?.throwIfAborted();
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => {
      const abort = () => {
        this.#entries.delete(id);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const done = () => signal?.removeEventListener("abort", abort);
      this.#entries.set(id, {
        method,
        deadline: this.#clock.monotonicMs() + timeoutMs,
        resolve: (body) => {
          done();
          resolve(body);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
    });
    void this.#watch();
    return { id, answer };
  }

  /** An answer came. Throws ProtocolError `bad-message` when nobody asked, or it is none to what was asked. */
  respond(id: number, body: unknown): void {
    const pending = this.#take(id);
    try {
      pending.resolve(parseResponse(pending.method, body));
    } catch (error) {
      pending.reject(error);
      throw error;
    }
  }

  /** The master will not answer. Throws as `respond`. */
  fail(id: number, code: FailureCode): void {
    const { method, reject } = this.#take(id);
    reject(FAILURES[code](`cannot do "${method}"`));
  }

  /** Gives one up, when it could not be sent. */
  drop(id: number, error: unknown): void {
    this.#entries.get(id)?.reject(error);
    this.#entries.delete(id);
  }

  /** The session ended: nothing will be answered any more. */
  end(reason: string): void {
    for (const { method, reject } of this.#entries.values()) {
      reject(new TransportError("session-lost", `cannot get an answer to "${method}": ${reason}`));
    }
    this.#entries.clear();
  }

  #take(id: number): Pending {
    const pending = this.#entries.get(id);
    if (!pending) throw new ProtocolError("bad-message", "cannot accept answer: nobody asked");
    this.#entries.delete(id);
    return pending;
  }

  /** One loop for all deadlines, only while there are any. */
  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    while (this.#entries.size > 0) {
      await this.#clock.sleep(TICK_MS);
      const now = this.#clock.monotonicMs();
      for (const [id, { method, deadline }] of this.#entries) {
        if (deadline <= now) {
          this.drop(id, new TransportError("timeout", `cannot get an answer to "${method}": the master took too long`));
        }
      }
    }
    this.#watching = false;
  }
}

const FAILURES: Readonly<Record<FailureCode, (what: string) => Error>> = {
  refused: (what) => new AuthError("refused", `${what}: the master refuses`),
  failed: (what) =>
    new TransportError("master-failed", `${what}: the master could not do it`, {
      hint: "the reason is in the master's log",
    }),
  busy: (what) => new TransportError("master-busy", `${what}: the master has too many requests of ours`),
  "bad-request": (what) =>
    new ProtocolError("bad-request", `${what}: the master does not understand the request`, {
      hint: "check that master and minion have the same version",
    }),
};
