import type { Clock } from "../core/clock.ts";
import { randomNonce } from "../core/crypto/random.ts";
import { ProtocolError } from "../core/errors.ts";
import { type Identity, type PublicIdentity, sameIdentity } from "../core/identity.ts";
import { Channel } from "./channel.ts";
import type { Drops } from "./drop-counters.ts";
import type { Admission } from "./endpoints.ts";
import { encodeHandshake, encodeHint, type Frame, type Opening, SESSION_ID_BYTES } from "./frames.ts";
import { HalfOpenTable } from "./half-open.ts";
import { checkProofQuickly, makeProof, prologue } from "./handshake-proof.ts";
import { MAX_HALF_OPEN, REFUSAL_TICK_MS } from "./limits.ts";
import { NoiseHandshake } from "./noise.ts";
import { noTicket, type OpeningTickets } from "./opening-ticket.ts";
import { encodeVerdict } from "./packets.ts";

type Later = Frame & { readonly kind: "xx2" | "xx3" | "ik2" };
type Data = Frame & { readonly kind: "data" };

/** A peer that has proven its keys in this very handshake and may have a session. */
export interface Admitted {
  readonly minionId: string;
  readonly peer: PublicIdentity;
  readonly route: Buffer;
  /** As the socket saw it. */
  readonly address: string;
  readonly handshakeHash: Buffer;
  readonly channel: Channel;
}

/** XX waits for the third message, IK (admitted by then) for the first transport message. */
type Pending = { readonly minionId: string; readonly route: Buffer; drop(): void } & (
  | { readonly stage: "xx"; readonly noise: NoiseHandshake }
  | { readonly stage: "ik"; readonly admitted: Admitted }
);

export interface HandshakeDeskOptions {
  readonly identity: Identity;
  readonly clock: Clock;
  readonly drops: Drops;
  readonly tickets: Pick<OpeningTickets, "issue">;
  /** undefined when the connection is over. */
  addressOf(route: Buffer): string | undefined;
  /** As `MasterHandlers.holder` and `.admit`. */
  holder(minionId: string): PublicIdentity | undefined;
  admit(minionId: string, peer: PublicIdentity, address: string): Promise<Admission>;
  send(route: Buffer, frame: Uint8Array): Promise<boolean>;
  /** Opens the session. `first` is what a peer of IK has proven itself by, its first message, opened and not read yet. */
  open(admitted: Admitted, first?: Buffer): void;
}

// an opening has 32 + 48 + 96 + 16 bytes at most
const MAX_HANDSHAKE_BYTES = 1024;

/**
 * The master's side of handshakes. Nothing here touches a live session: whatever is sent, forged or replayed, a session
 * comes about only when the peer has answered a key that was made for this handshake.
 */
export class HandshakeDesk {
  readonly #options: HandshakeDeskOptions;
  readonly #pending: HalfOpenTable<Pending>;
  // handshakes that are being proven or decided, by a token of their own, to their minion id
  readonly #deciding = new Map<symbol, string>();

  constructor(options: HandshakeDeskOptions) {
    this.#options = options;
    this.#pending = new HalfOpenTable(options.clock, options.drops);
  }

  /** Unfinished handshakes. */
  get size(): number {
    return this.#pending.size + this.#deciding.size;
  }

  /** The first message of a handshake. */
  async opening(route: Buffer, frame: Opening): Promise<void> {
    await this.#guarded(route, frame.minionId, frame.noise, (token) =>
      frame.kind === "xx1" ? this.#startXx(route, frame) : this.#startIk(route, frame, token),
    );
  }

  /** The third message of XX; anything else a minion has no business to send. */
  async later(route: Buffer, frame: Later): Promise<void> {
    const pending = frame.kind === "xx3" ? this.#pending.get(frame.sessionId) : undefined;
    if (pending?.stage !== "xx" || !pending.route.equals(route)) {
      this.#options.drops.add("bad-handshake");
      return;
    }
    this.#pending.take(frame.sessionId);
    const { minionId, noise } = pending;
    await this.#guarded(route, minionId, frame.noise, (token) => this.#finishXx(route, frame, minionId, noise, token));
  }

  /**
   * A data frame of no live session: opens one if it is the first of an IK handshake, whatever it says: who sealed it has made
   * the keys. False when there is no such handshake.
   */
  confirm(route: Buffer, frame: Data): boolean {
    const pending = this.#pending.get(frame.sessionId);
    if (pending?.stage !== "ik") return false;
    if (!pending.route.equals(route)) {
      this.#options.drops.add("wrong-route");
      return true;
    }
    const { admitted } = pending;
    const plaintext = admitted.channel.open(frame.counter, frame.frame);
    if (typeof plaintext === "string") {
      this.#options.drops.add(plaintext);
      return true;
    }
    this.#pending.take(frame.sessionId);
    this.#options.open(admitted, plaintext);
    return true;
  }

  /** Forgets every unfinished handshake of a minion id, those being proven or decided as well. */
  dropMinion(minionId: string): void {
    this.#pending.dropMinion(minionId);
    for (const [token, id] of this.#deciding) if (id === minionId) this.#deciding.delete(token);
  }

  /** Drops handshakes that nobody finished in time. */
  expire(): void {
    this.#pending.expire();
  }

  async #startXx(route: Buffer, { minionId, noise: message }: Opening): Promise<void> {
    const noise = this.#respond("XX", minionId);
    const drop = () => noise[Symbol.dispose]();
    const sessionId = newSessionId();
    let reply: Buffer;
    try {
      noise.read(message);
      reply = noise.write((binding) => makeProof("master", this.#options.identity, binding));
    } catch (error) {
      drop();
      throw error;
    }
    this.#pending.add(sessionId, { stage: "xx", minionId, route, noise, drop });
    await this.#options.send(route, encodeHandshake("xx2", sessionId, reply));
  }

  async #finishXx(route: Buffer, frame: Later, minionId: string, begun: NoiseHandshake, token: symbol): Promise<void> {
    using noise = begun;
    const { payload, binding } = noise.read(frame.noise);
    const peer = await checkProofQuickly("minion", payload, binding, noise.remoteStatic);
    const address = this.#addressOf(route);
    if ((await this.#options.admit(minionId, peer, address)) === "refuse") this.#deciding.delete(token);
    await this.#tick(token);
    const { hash, ...keys } = noise.finish();
    const channel = new Channel(frame.sessionId, keys);
    // from here on without a pause, so that a key deleted meanwhile finds either the token or the session
    const accepted = this.#deciding.delete(token);
    const sending = this.#options.send(
      route,
      channel.seal(encodeVerdict(accepted, this.#ticket(accepted, minionId, peer))),
    );
    if (accepted) this.#options.open({ minionId, peer, route, address, handshakeHash: hash, channel });
    else channel.wipe();
    await sending;
  }

  async #startIk(route: Buffer, { minionId, noise: message }: Opening, token: symbol): Promise<void> {
    using noise = this.#respond("IK", minionId);
    const { payload, binding } = noise.read(message);
    const peer = await checkProofQuickly("minion", payload, binding, noise.remoteStatic);
    const address = this.#addressOf(route);
    // whoever sends it may have recorded it: nothing is noted of it, whatever the answer
    const holder = this.#options.holder(minionId);
    if (holder === undefined || !sameIdentity(holder, peer)) this.#deciding.delete(token);
    await this.#tick(token);
    const sessionId = newSessionId();
    const accepted = this.#deciding.delete(token);
    const reply = noise.write(() =>
      Buffer.concat([Uint8Array.of(accepted ? 1 : 0), this.#ticket(accepted, minionId, peer)]),
    );
    const { hash, ...keys } = noise.finish();
    const channel = new Channel(sessionId, keys);
    const admitted = { minionId, peer, route, address, handshakeHash: hash, channel };
    const drop = () => {
      channel.wipe();
    };
    if (accepted) this.#pending.add(sessionId, { stage: "ik", minionId, route, admitted, drop });
    else drop();
    await this.#options.send(route, encodeHandshake("ik2", sessionId, reply));
  }

  /** Nobody is asked about a peer without an address: its connection is over. Throws ProtocolError `bad-handshake`. */
  #addressOf(route: Buffer): string {
    const address = this.#options.addressOf(route);
    if (address === undefined) throw new ProtocolError("bad-handshake", "its connection is over");
    return address;
  }

  #ticket(accepted: boolean, minionId: string, peer: PublicIdentity): Buffer {
    return accepted ? this.#options.tickets.issue(minionId, peer) : noTicket();
  }

  #respond(pattern: "XX" | "IK", minionId: string): NoiseHandshake {
    const staticKey = this.#options.identity.dh;
    return new NoiseHandshake({ pattern, role: "responder", prologue: prologue(minionId), staticKey });
  }

  /** A peer whose token is gone gets no session; its refusal leaves at the next tick (I6). */
  async #tick(token: symbol): Promise<void> {
    const { clock } = this.#options;
    if (!this.#deciding.has(token)) await clock.sleep(REFUSAL_TICK_MS - (clock.monotonicMs() % REFUSAL_TICK_MS));
  }

  async #guarded(
    route: Buffer,
    minionId: string,
    message: Buffer,
    step: (token: symbol) => Promise<void>,
  ): Promise<void> {
    const token = Symbol(minionId);
    try {
      if (message.length > MAX_HANDSHAKE_BYTES) throw new ProtocolError("bad-handshake", "it is too long");
      if (this.#deciding.size >= MAX_HALF_OPEN) throw new ProtocolError("half-open", "too many handshakes at once");
      this.#deciding.set(token, minionId);
      await step(token);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.drops.add(error.code === "half-open" ? "half-open" : "bad-handshake");
      await this.#options.send(route, encodeHint("unreadableHandshake"));
    } finally {
      this.#deciding.delete(token);
    }
  }
}

function newSessionId(): string {
  return randomNonce(SESSION_ID_BYTES).toString("hex");
}
