import type { Socket } from "node:net";
import { MAX_FRAME_BYTES } from "../limits.ts";
import type { CutOff } from "./cut-off.ts";
import { PING, ZmtpPeer } from "./peer.ts";
import { type QueueBounds, SendQueue } from "./send-queue.ts";
import { FREE_BYTES, type Passenger } from "./turnstile.ts";

/** Most bytes of a message before there is a session: those of a handshake have some 300. */
export const MAX_STRANGER_BYTES = 2048;

/** Ticks of a second, so that a master that stood still itself takes nobody for dead or slow: each comes after a look at the sockets. */
export const DEADLINES = {
  /** From connecting to READY. */
  ready: 5,
  /** From connecting to the first message. */
  firstMessage: 8,
  /** From connecting to a session; more than a minion waits for the master's answers. */
  session: 20,
  /** For one message, from its first byte to its last. */
  message: 120,
  /** Without a byte, where a minion's heartbeats come every 3 s: asked whether it is there, and given up. */
  silent: 5,
  dead: 7,
  /** Without taking anything of what waits for it. */
  stuck: 20,
  /** For the other side to close, too. */
  farewell: 2,
} as const;

const STRANGER_QUEUE: QueueBounds = { frames: 16, bytes: 16 * 1024 };
const SESSION_QUEUE: QueueBounds = { frames: 256, bytes: 2 * MAX_FRAME_BYTES };

/** What a connection tells its listener. */
export interface ConnectionEvents {
  message(from: Connection, body: Buffer): void;
  /** It has sent more than a handshake needs, without a session: so many bytes more wait for `takeTurn`. False: no room. */
  waits(which: Connection, bytes: number): boolean;
  /** It is over, once; `cutOff` when that was our doing. */
  over(which: Connection, cutOff: CutOff | undefined): void;
}

/** One peer's TCP connection: its one address, its one route. */
export class Connection implements Passenger {
  /** Leads back to it, and to nobody else, for the life of the process. */
  readonly route: Buffer;
  /** As the kernel says it. */
  readonly address: string;
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #peer: ZmtpPeer;
  readonly #queue: SendQueue;
  #stage: "stranger" | "session" | "ending" | "over" = "stranger";
  #hasSpoken = false;
  // all in ticks
  #age = 0;
  #silent = 0;
  #inFrame = 0;
  #stuck = 0;
  #writtenBefore = 0;
  // what it may still send without a session and without waiting, and what waits
  #free = FREE_BYTES;
  #waiting = Buffer.alloc(0);

  constructor(socket: Socket, route: Buffer, address: string, events: ConnectionEvents) {
    this.#socket = socket;
    this.route = route;
    this.address = address;
    this.#events = events;
    this.#queue = new SendQueue((bytes, done) => void socket.write(bytes, done), STRANGER_QUEUE);
    this.#peer = new ZmtpPeer(
      {
        answer: (bytes) => {
          this.#queue.control(bytes);
        },
        message: (body) => this.#message(body),
      },
      MAX_STRANGER_BYTES,
    );
    socket.on("data", (chunk) => {
      this.#receive(chunk);
    });
    // "close" follows
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#over(undefined);
    });
  }

  /** Seconds since it was made, or lost its session. */
  get age(): number {
    return this.#age;
  }

  /** Bytes held of it and for it. */
  get heldBytes(): number {
    return this.#peer.heldBytes + this.#queue.bytes + this.#waiting.length;
  }

  /** Bytes that wait for its turn; nothing more is read meanwhile. */
  get waitingBytes(): number {
    return this.#waiting.length;
  }

  /** Works on what waits: on so much, or on all if it has a session by now. */
  takeTurn(bytes: number): void {
    const all = this.#waiting;
    const now = this.#stage === "stranger" ? all.subarray(0, bytes) : all;
    this.#waiting = all.subarray(now.length);
    this.#take(now);
    if (this.#stage === "ending" || this.#stage === "over") this.#waiting = all.subarray(all.length);
    if (this.#waiting.length === 0) this.#socket.resume();
  }

  /** Sends a message's one part, not to be changed any more. False when it is gone or does not read. */
  send(frame: Uint8Array): boolean {
    return (this.#stage === "stranger" || this.#stage === "session") && this.#queue.message(frame);
  }

  /** It has a session from now on: larger messages, no deadline for one. False when it has one already, or is ending. */
  settle(): boolean {
    if (this.#stage !== "stranger") return false;
    this.#stage = "session";
    this.#peer.maxMessageBytes = MAX_FRAME_BYTES;
    this.#queue.bounds = SESSION_QUEUE;
    return true;
  }

  /** Takes nothing more from it; closes when what waits for it has left, or soon in any case. */
  end(): void {
    if (this.#stage === "ending" || this.#stage === "over") return;
    this.#stage = "ending";
    this.#age = 0;
    void this.#closeWhenTaken();
  }

  /** Resolves when all that was sent until now has left, or never will. */
  async taken(): Promise<void> {
    await this.#queue.taken();
  }

  /** Ends it at once. */
  cutOff(reason: CutOff | undefined): void {
    if (this.#stage === "over") return;
    this.#socket.resetAndDestroy();
    this.#over(reason);
  }

  /** A second has passed. */
  tick(): void {
    this.#age += 1;
    if (this.#stage === "over") return;
    if (this.#stage === "ending") {
      if (this.#age > DEADLINES.farewell) this.cutOff(undefined);
      return;
    }
    this.#silent += 1;
    this.#inFrame = this.#peer.inFrame ? this.#inFrame + 1 : 0;
    this.#stuck = this.#queue.bytes > 0 && this.#queue.written === this.#writtenBefore ? this.#stuck + 1 : 0;
    this.#writtenBefore = this.#queue.written;
    if (this.#stuck > DEADLINES.stuck) this.cutOff("not-reading");
    else if (this.#isLate()) this.cutOff("too-slow");
    else if (this.#silent > DEADLINES.dead) this.cutOff(undefined);
    else if (this.#silent === DEADLINES.silent && this.#peer.isReady) this.#queue.control(PING);
  }

  async #closeWhenTaken(): Promise<void> {
    await this.#queue.taken();
    this.#socket.end();
  }

  #isLate(): boolean {
    if (this.#inFrame > DEADLINES.message) return true;
    if (this.#stage !== "stranger") return false;
    if (!this.#peer.isReady) return this.#age > DEADLINES.ready;
    return this.#age > (this.#hasSpoken ? DEADLINES.session : DEADLINES.firstMessage);
  }

  #receive(chunk: Buffer): void {
    if (this.#stage === "ending" || this.#stage === "over") return;
    this.#silent = 0;
    if (this.#waiting.length > 0) return this.#wait(chunk);
    const now = this.#stage === "stranger" ? chunk.subarray(0, this.#free) : chunk;
    if (this.#stage === "stranger") this.#free -= now.length;
    this.#take(now);
    const rest = chunk.subarray(now.length);
    if (rest.length === 0) return;
    // with what it has sent first it may have got a session
    if (this.#isSettled()) this.#take(rest);
    else this.#wait(rest);
  }

  #isSettled(): boolean {
    return this.#stage === "session";
  }

  #wait(chunk: Buffer): void {
    if (this.#stage === "ending" || this.#stage === "over") return;
    this.#socket.pause();
    if (this.#events.waits(this, chunk.length)) this.#waiting = Buffer.concat([this.#waiting, chunk]);
    else this.cutOff("turned-away");
  }

  #take(chunk: Buffer): void {
    if (this.#stage === "ending" || this.#stage === "over") return;
    const fault = this.#peer.receive(chunk);
    if (fault) this.cutOff(fault);
  }

  #message(body: Buffer): boolean {
    this.#hasSpoken = true;
    // a stranger's is small, and must not keep all that was read with it
    this.#events.message(this, this.#stage === "session" ? body : Buffer.from(body));
    return this.#stage === "stranger" || this.#stage === "session";
  }

  #over(reason: CutOff | undefined): void {
    if (this.#stage === "over") return;
    this.#stage = "over";
    this.#queue.abandon();
    this.#events.over(this, reason);
  }
}
