import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import { ProtocolError, TransportError } from "../core/errors.ts";
import type { Identity, PublicIdentity } from "../core/identity.ts";
import { Channel } from "./channel.ts";
import type { Drops } from "./drop-counters.ts";
import type { MasterAddress } from "./endpoints.ts";
import { decodeFrame, encodeHandshake, encodeOpening, type Frame } from "./frames.ts";
import { checkProof, makeProof, prologue } from "./handshake-proof.ts";
import { MAX_FRAME_BYTES } from "./limits.ts";
import { NoiseHandshake } from "./noise.ts";
import { decodeMasterPacket, encodeConfirm, type MasterPacket } from "./packets.ts";
import { connectDealer, type DealerPort } from "./sockets.ts";
import type { MasterPin } from "./trust.ts";

/** How an attempt at a session, or the session itself, ended. */
export type LinkEnd =
  | { readonly kind: "unreachable"; readonly reason: string }
  | { readonly kind: "refused"; readonly master: PublicIdentity }
  | { readonly kind: "wrong-master"; readonly expected: string; readonly found: string }
  /**
   * The master cannot read an IK opening (it may have a new key, which XX will show), or refuses it: only XX proves that we
   * are no replay, so only then may it note our key.
   */
  | { readonly kind: "try-xx" }
  | { readonly kind: "lost"; readonly reason: string };

/** A session at the minion. */
export interface LiveLink {
  readonly master: PublicIdentity;
  readonly handshakeHash: Buffer;
  /** Seals and sends. Throws TransportError when the session is over or too much waits, ProtocolError `too-large`. */
  send(packet: Uint8Array): Promise<void>;
  end(reason: string): void;
}

export interface MinionLinkOptions {
  readonly address: MasterAddress;
  readonly minionId: string;
  readonly identity: Identity;
  readonly pin: MasterPin;
  /** Tries IK with this master, XX when undefined. */
  readonly known: PublicIdentity | undefined;
  readonly clock: Clock;
  readonly drops: Drops;
  /** What the known master gave us with an earlier session. */
  readonly ticket: Uint8Array | undefined;
  /** A new one, of a master that has let us in. */
  ticketed(master: PublicIdentity, ticket: Uint8Array): void;
  live(link: LiveLink): void;
  packet(packet: MasterPacket): void;
}

type Stage =
  | { readonly kind: "connecting" }
  | { readonly kind: "xx"; readonly noise: NoiseHandshake }
  | { readonly kind: "ik"; readonly noise: NoiseHandshake; readonly master: PublicIdentity }
  /** XX, while a new master is being remembered. */
  | { readonly kind: "deciding" }
  | { readonly kind: "verdict"; readonly channel: Channel; readonly hash: Buffer; readonly master: PublicIdentity }
  | { readonly kind: "live"; readonly channel: Channel }
  | { readonly kind: "ended" };

// a master with thousands of minions at its door answers late; asking again would only make the queue longer
const HANDSHAKE_TIMEOUT_MS = 15_000;

// hints are not authenticated: whoever forges them shall not have us send for ever
const MAX_COOKIES = 4;

/** A larger packet is not the first one of a session: the master takes only small ones of a peer that has not proven itself. */
const FIRST_BYTES = 512;

/** One connection to one master, from the opening of its socket to the end of its session. */
export class MinionLink {
  readonly #options: MinionLinkOptions;
  readonly #settled = Promise.withResolvers<LinkEnd>();
  readonly #over = new AbortController();
  #stage: Stage = { kind: "connecting" };
  #again: ((cookie: Uint8Array) => Buffer) | undefined;
  #cookies = 0;
  #port: DealerPort | undefined;

  constructor(options: MinionLinkOptions) {
    this.#options = options;
  }

  /** Connects, shakes hands, and stays until the session is over. */
  async run(signal: AbortSignal): Promise<LinkEnd> {
    const stop = () => {
      this.#end({ kind: "lost", reason: "we stop" });
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (signal.aborted) stop();
      else this.#connect();
      return await this.#settled.promise;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #connect(): void {
    const { host, returnPort } = this.#options.address;
    try {
      this.#port = connectDealer(host, returnPort, {
        frame: (frame) => {
          this.#receive(frame);
        },
        up: () => {
          if (this.#stage.kind === "connecting") this.#guarded(() => this.#open());
        },
        down: (reason) => {
          this.#fail(reason);
        },
      });
      void this.#expire();
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#fail(error.message);
    }
  }

  #receive(bytes: Buffer | undefined): void {
    const { drops } = this.#options;
    const frame = bytes ? decodeFrame(bytes) : "garbage";
    if (typeof frame === "string") {
      drops.add(frame);
      return;
    }
    switch (frame.kind) {
      case "xx2":
        return this.#guarded(() => this.#readXx(frame.sessionId, frame.noise));
      case "ik2":
        return this.#guarded(() => this.#readIk(frame.sessionId, frame.noise));
      case "data":
        return this.#guarded(() => this.#readData(frame));
      case "version-hint":
        return this.#hintVersions(frame.versions);
      case "unknown-session-hint":
        if (this.#stage.kind === "live" && this.#stage.channel.sessionId === frame.sessionId) {
          this.#fail("the master does not know our session any more");
        }
        return;
      case "cookie-hint":
        return this.#guarded(() => this.#knockAgain(frame.cookie));
      case "unreadable-handshake-hint":
        if (this.#stage.kind === "ik") this.#end({ kind: "try-xx" });
        else if (this.#stage.kind !== "live") this.#fail("the master cannot read our handshake");
        return;
      case "xx1":
      case "xx3":
      case "ik1":
        drops.add("garbage");
    }
  }

  /** Says who we want to be, by id; in IK also who we are, readable for the known master alone. */
  async #open(): Promise<void> {
    const { minionId, identity, known } = this.#options;
    const common = { role: "initiator", prologue: prologue(minionId), staticKey: identity.dh } as const;
    if (known) {
      const noise = new NoiseHandshake({ ...common, pattern: "IK", remoteStatic: known.dhKey });
      const message = noise.write((binding) => makeProof("minion", identity, binding));
      this.#stage = { kind: "ik", noise, master: known };
      await this.#knock("ik1", message);
    } else {
      const noise = new NoiseHandshake({ ...common, pattern: "XX" });
      this.#stage = { kind: "xx", noise };
      await this.#knock(
        "xx1",
        noise.write(() => new Uint8Array(0)),
      );
    }
  }

  /** Sends the opening, and again whenever the master asks for it with a cookie. */
  async #knock(kind: "xx1" | "ik1", noise: Buffer): Promise<void> {
    const { minionId, ticket } = this.#options;
    this.#again = (cookie) =>
      encodeOpening(kind, minionId, noise, { cookie, ...(ticket === undefined || kind === "xx1" ? {} : { ticket }) });
    await this.#port?.send(this.#again(new Uint8Array(0)));
  }

  async #knockAgain(cookie: Buffer): Promise<void> {
    const isKnocking = this.#stage.kind === "xx" || this.#stage.kind === "ik";
    if (!isKnocking || this.#again === undefined || this.#cookies >= MAX_COOKIES) return;
    this.#cookies += 1;
    await this.#port?.send(this.#again(cookie));
  }

  /** The master has shown itself; a wrong one hears no more from us, not even our key. */
  async #readXx(sessionId: string, message: Buffer): Promise<void> {
    if (this.#stage.kind !== "xx") return this.#options.drops.add("bad-handshake");
    const { noise } = this.#stage;
    this.#stage = { kind: "deciding" };
    const { payload, binding } = noise.read(message);
    const master = checkProof("master", payload, binding, noise.remoteStatic);
    const belief = this.#options.pin.judge(master);
    if (belief.kind === "wrong") {
      return this.#end({ kind: "wrong-master", expected: belief.expected, found: belief.found });
    }
    if (belief.kind === "new") await this.#options.pin.remember(master);
    if (this.#over.signal.aborted) return undefined;
    const reply = noise.write((ours) => makeProof("minion", this.#options.identity, ours));
    const { hash, ...keys } = noise.finish();
    this.#stage = { kind: "verdict", channel: new Channel(sessionId, keys), hash, master };
    return this.#port?.send(encodeHandshake("xx3", sessionId, reply));
  }

  async #readIk(sessionId: string, message: Buffer): Promise<void> {
    if (this.#stage.kind !== "ik") return this.#options.drops.add("bad-handshake");
    const { noise, master } = this.#stage;
    const { payload } = noise.read(message);
    const { hash, ...keys } = noise.finish();
    const channel = new Channel(sessionId, keys);
    if (payload[0] !== 1) {
      channel.wipe();
      return this.#end({ kind: "try-xx" });
    }
    this.#options.ticketed(master, payload.subarray(1));
    const send = this.#live(channel, hash, master);
    // whatever comes first confirms the handshake, mostly the first request, which follows at once
    await nextTurn();
    if (!channel.hasSent && !this.#over.signal.aborted) await send(encodeConfirm());
    return undefined;
  }

  async #readData(frame: Frame & { readonly kind: "data" }): Promise<void> {
    const stage = this.#stage;
    const { drops } = this.#options;
    if (stage.kind !== "verdict" && stage.kind !== "live") return drops.add("unknown-session");
    if (stage.channel.sessionId !== frame.sessionId) return drops.add("unknown-session");
    const plaintext = stage.channel.open(frame.counter, frame.frame);
    if (typeof plaintext === "string") return drops.add(plaintext);
    const packet = decodeMasterPacket(plaintext);
    if (stage.kind === "live") return this.#options.packet(packet);
    if (packet.kind !== "verdict") return drops.add("bad-message");
    if (packet.accepted) {
      this.#options.ticketed(stage.master, packet.ticket);
      this.#live(stage.channel, stage.hash, stage.master);
      return undefined;
    }
    stage.channel.wipe();
    return this.#end({ kind: "refused", master: stage.master });
  }

  /** The session is there; returns what sends on it. */
  #live(channel: Channel, handshakeHash: Buffer, master: PublicIdentity): LiveLink["send"] {
    this.#stage = { kind: "live", channel };
    const send: LiveLink["send"] = async (packet) => {
      if (packet.length > MAX_FRAME_BYTES - 64) {
        throw new ProtocolError("too-large", `cannot send a message of ${packet.length} bytes`);
      }
      if (this.#over.signal.aborted || !this.#port) {
        throw new TransportError("not-connected", "cannot send: the session is over");
      }
      const isLargeFirst = !channel.hasSent && packet.length > FIRST_BYTES;
      const packets = isLargeFirst ? [encodeConfirm(), packet] : [packet];
      // they leave in the order in which they were sealed, so nothing comes between
      const port = this.#port;
      await Promise.all(packets.map(async (each) => port.send(channel.seal(each))));
    };
    const end = (reason: string) => {
      this.#fail(reason);
    };
    this.#options.live({ master, handshakeHash, send, end });
    return send;
  }

  #hintVersions(versions: readonly number[]): void {
    if (this.#stage.kind === "live") return;
    this.#fail(`the master speaks protocol version ${versions.join(", ")}, we do not`);
  }

  /** A step on what came over the network: bytes that we do not accept are counted, and end a handshake. */
  #guarded(step: () => Promise<void>): void {
    step().catch((error: unknown) => {
      if (error instanceof ProtocolError) {
        this.#options.drops.add(this.#stage.kind === "live" ? "bad-message" : "bad-handshake");
        if (this.#stage.kind !== "live") this.#fail("what the master says does not hold");
      } else {
        this.#fail(error instanceof Error ? error.message : String(error));
      }
    });
  }

  #fail(reason: string): void {
    this.#end({ kind: this.#stage.kind === "live" ? "lost" : "unreachable", reason });
  }

  #end(end: LinkEnd): void {
    if (this.#over.signal.aborted) return;
    if (this.#stage.kind === "live" || this.#stage.kind === "verdict") this.#stage.channel.wipe();
    this.#stage = { kind: "ended" };
    this.#over.abort();
    this.#port?.close();
    this.#settled.resolve(end);
  }

  async #expire(): Promise<void> {
    try {
      await this.#options.clock.sleep(HANDSHAKE_TIMEOUT_MS, this.#over.signal);
    } catch {
      return;
    }
    if (this.#stage.kind !== "live") this.#fail("the master did not answer in time");
  }
}
