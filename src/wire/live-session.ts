import { AuthError, ProtocolError, TransportError } from "../core/errors.ts";
import type { PublicIdentity } from "../core/identity.ts";
import type { Channel } from "./channel.ts";
import type { DropReason } from "./drop-counters.ts";
import type { MasterHandlers, PeerSession } from "./endpoints.ts";
import type { Frame } from "./frames.ts";
import { MAX_REQUESTS_IN_FLIGHT } from "./limits.ts";
import type { Method, Notice, Response } from "./messages.ts";
import {
  type AnyRequest,
  decodeMinionPacket,
  encodeFailure,
  encodeNotice,
  encodeResponse,
  type FailureCode,
  isShortPacket,
  requestHead,
} from "./packets.ts";
import { microsecondsOf, priceOf } from "./prices.ts";
import type { RequestBudget } from "./request-budget.ts";
import type { Turns } from "./turns.ts";

/** What a session needs from the endpoint that holds it. */
export interface SessionHost {
  readonly handlers: MasterHandlers;
  readonly budget: RequestBudget;
  readonly turns: Turns;
  now(): number;
  monotonicMs(): number;
  send(route: Buffer, frame: Uint8Array): Promise<boolean>;
  dropped(reason: DropReason): void;
  report(message: string, error: unknown): void;
  /** The session ended; called once. */
  ended(session: LiveSession): void;
}

/** What a finished handshake hands over. */
export interface SessionFacts {
  readonly sessionId: number;
  readonly minionId: string;
  readonly peer: PublicIdentity;
  readonly address: string;
  readonly route: Buffer;
  readonly handshakeHash: Buffer;
  readonly channel: Channel;
}

/** A session at the master, from the proof of the peer's keys to its end. */
export class LiveSession implements PeerSession {
  readonly sessionId: number;
  readonly minionId: string;
  readonly peer: PublicIdentity;
  readonly address: string;
  readonly handshakeHash: Buffer;
  readonly openedAt: number;
  readonly route: Buffer;
  readonly #host: SessionHost;
  readonly #channel: Channel;
  #inFlight = 0;
  #isAgent = false;
  #open = true;
  #heardAt: number;
  #ticketAt: number;

  constructor(host: SessionHost, facts: SessionFacts) {
    this.#host = host;
    this.#channel = facts.channel;
    this.sessionId = facts.sessionId;
    this.minionId = facts.minionId;
    this.peer = facts.peer;
    this.address = facts.address;
    this.handshakeHash = facts.handshakeHash;
    this.route = facts.route;
    this.openedAt = host.now();
    this.#heardAt = host.monotonicMs();
    this.#ticketAt = this.#heardAt;
  }

  /** The session's id on the wire. */
  get wireId(): string {
    return this.#channel.sessionId;
  }

  /** Whether the peer has said that it is the minion's agent, and no call by hand. */
  get isAgent(): boolean {
    return this.#isAgent;
  }

  /** Milliseconds since the last frame that proved to be the peer's. */
  get silentMs(): number {
    return this.#host.monotonicMs() - this.#heardAt;
  }

  /** Milliseconds since the peer got a ticket: with its handshake, or since. */
  get ticketAgeMs(): number {
    return this.#host.monotonicMs() - this.#ticketAt;
  }

  /** Gives the peer a newer ticket. */
  async renewTicket(ticket: Uint8Array): Promise<void> {
    this.#ticketAt = this.#host.monotonicMs();
    await this.notify({ kind: "ticket", ticket });
  }

  /** A data frame that names this session; drops it unless it is the peer's own, new, and well formed. */
  receive(route: Buffer, data: Frame & { readonly kind: "data" }): void {
    if (!route.equals(this.route)) {
      this.#host.dropped("wrong-route");
      return;
    }
    const plaintext = this.#channel.open(data.counter, data.frame);
    if (typeof plaintext === "string") {
      this.#host.dropped(plaintext);
      return;
    }
    this.#heardAt = this.#host.monotonicMs();
    this.take(plaintext);
  }

  /** What a data frame of this session said: paid for by its minion, and served in its turn. */
  take(plaintext: Buffer): void {
    if (!this.#open) return;
    const { budget, turns } = this.#host;
    const bytes = plaintext.length;
    const head = this.#reading(() => requestHead(plaintext));
    if (head === undefined) {
      // what proves an opening comes first
      if (isShortPacket(plaintext)) this.#serve(plaintext);
      else this.#host.dropped("bad-message");
      return;
    }
    const price = priceOf(head.method);
    const isServed =
      budget.charge(this.minionId, price, bytes) &&
      turns.take(this.minionId, { us: microsecondsOf(price, bytes), bytes, work: () => this.#serve(plaintext) });
    if (!isServed) void this.#reply(encodeFailure(head.id, "busy"));
  }

  /** Undefined, and counted, for what no minion of ours says. */
  #reading<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#host.dropped("bad-message");
      return undefined;
    }
  }

  #serve(plaintext: Buffer): void {
    if (!this.#open) return;
    const { budget } = this.#host;
    let items = 0;
    const packet = this.#reading(() =>
      decodeMinionPacket(plaintext, (found) => {
        items = found;
        return budget.mayDecode(this.minionId, found);
      }),
    );
    switch (packet?.kind) {
      case "request":
        void this.#answer(packet.id, packet.request, budget.begin(this.minionId, plaintext.length, items));
        return;
      case "bad-request":
        void this.#refuse(packet.id);
        return;
      case "held-back":
        void this.#reply(encodeFailure(packet.id, "busy"));
        return;
      case "confirm":
      case undefined:
    }
  }

  async notify(notice: Notice): Promise<boolean> {
    return this.#open && (await this.sendPacket(encodeNotice(notice)));
  }

  /** Seals and sends; false when the peer is gone or does not read, and then the session is over. */
  async sendPacket(packet: Uint8Array): Promise<boolean> {
    if (!this.#open) return false;
    const sent = await this.#host.send(this.route, this.#channel.seal(packet));
    if (!sent) {
      this.#host.dropped("undelivered");
      this.#end();
    }
    return sent;
  }

  close(): void {
    if (!this.#open) return;
    const farewell = this.#channel.seal(encodeNotice({ kind: "close" }));
    // before the end, with which the connection ends as well
    this.#host.send(this.route, farewell).catch((error: unknown) => {
      this.#host.report("cannot say goodbye to a minion", error);
    });
    this.#end();
  }

  /** The connection is gone. */
  lost(): void {
    this.#end();
  }

  #end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#channel.wipe();
    this.#host.ended(this);
  }

  async #refuse(id: number): Promise<void> {
    this.#host.dropped("bad-message");
    await this.#reply(encodeFailure(id, "bad-request"));
  }

  /** `done` is missing when there is no room for the request beside those that are worked on. */
  async #answer(id: number, request: AnyRequest, done: (() => void) | undefined): Promise<void> {
    if (done === undefined || this.#inFlight >= MAX_REQUESTS_IN_FLIGHT) {
      done?.();
      await this.#reply(encodeFailure(id, "busy"));
      return;
    }
    if (request.method === "hello") this.#isAgent = request.body.role === "agent";
    this.#inFlight += 1;
    let packet: Uint8Array;
    try {
      const body: Response<Method> = await this.#host.handlers.request(this, request.method, request.body);
      packet = encodeResponse(id, body);
    } catch (error) {
      const code = failureCode(error);
      // that a minion asks for too much is counted and no fault of the master's
      if (code !== "busy") this.#host.report(`cannot answer "${request.method}" of minion "${this.minionId}"`, error);
      packet = encodeFailure(id, code);
    } finally {
      this.#inFlight -= 1;
      done();
    }
    await this.#reply(packet);
  }

  async #reply(packet: Uint8Array): Promise<void> {
    try {
      await this.sendPacket(packet);
    } catch (error) {
      this.#host.report(`cannot send to minion "${this.minionId}"`, error);
    }
  }
}

function failureCode(error: unknown): FailureCode {
  if (error instanceof AuthError) return "refused";
  return error instanceof TransportError && error.code === "busy" ? "busy" : "failed";
}
