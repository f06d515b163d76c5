import { TransportError } from "../../src/core/errors.ts";
import { generateIdentity } from "../../src/core/identity.ts";
import type { ConnectionState, MasterConnection } from "../../src/wire/endpoints.ts";
import type { Method, Request, Response } from "../../src/wire/messages.ts";

/** What the fake master answers to one method; may throw what the real connection throws. */
export type FakeAnswers = {
  [M in Method]?: (body: Request<M>) => Promise<Response<M>> | Response<M>;
};

/** A connection to a master that answers as scripted; unscripted methods fail. `drop` and `restore` change the session. */
export class FakeConnection implements MasterConnection {
  readonly identity = generateIdentity();
  readonly master = this.identity.public;
  readonly asked: { readonly method: Method; readonly body: unknown }[] = [];
  readonly answers: FakeAnswers;
  state: ConnectionState = { kind: "connected", address: "fake:4506" };
  #leaseRetry = Promise.withResolvers<void>();
  #session = 1;
  #ready = Promise.resolve();
  #restore = () => {};

  constructor(answers: FakeAnswers) {
    this.answers = answers;
  }

  get handshakeHash(): Uint8Array {
    if (this.state.kind !== "connected") throw new TransportError("not-connected", "no session");
    return Buffer.alloc(32, this.#session);
  }

  get leaseRetry(): Promise<void> {
    return this.#leaseRetry.promise;
  }

  /** The master's word that a held lease may be asked for again. */
  nudge(): void {
    this.#leaseRetry.resolve();
    this.#leaseRetry = Promise.withResolvers();
  }

  drop(): void {
    this.state = { kind: "disconnected", reason: "dropped", retryMs: 1 };
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ready = promise;
    this.#restore = resolve;
  }

  restore(): void {
    this.#session += 1;
    this.state = { kind: "connected", address: "fake:4506" };
    this.#restore();
  }

  async ready(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    signal?.addEventListener("abort", () => aborted.reject(signal.reason), { once: true });
    await Promise.race([this.#ready, aborted.promise]);
  }

  async request<M extends Method>(method: M, body: Request<M>): Promise<Response<M>> {
    if (this.state.kind !== "connected") throw new TransportError("not-connected", "no session");
    this.asked.push({ method, body });
    const answer = this.answers[method];
    if (answer === undefined) throw new Error(`unscripted request: ${method}`);
    return answer(body);
  }

  drops() {
    return {};
  }

  async close(): Promise<void> {
    this.drop();
  }
}
