import { encodeCommand } from "./frame-bytes.ts";
import { type Fault, FrameDecoder, type FrameSink } from "./frame-decoder.ts";
import { GREETING_BYTES, isDealerReady, isGreeting, SIGNATURE_BYTES, WELCOME } from "./greeting.ts";

/** What a peer's bytes lead to. */
export interface PeerEvents {
  /** The protocol's own answer, to be sent. */
  answer(bytes: Buffer): void;
  /** A message's one part, a view. False when nothing more is wanted of this peer. */
  message(body: Buffer): boolean;
}

const PING_NAME = Buffer.from("\u0004PING", "latin1");
const PONG_NAME = Buffer.from("\u0004PONG", "latin1");
const TTL_BYTES = 2;
const MAX_CONTEXT_BYTES = 16;

/** Asks whether the peer is there: no time to live, no context (ZMTP 3.1, ZeroMQ RFC 37). */
export const PING: Buffer = encodeCommand("PING", Buffer.alloc(TTL_BYTES));

const PONG = encodeCommand("PONG", Buffer.alloc(0));

/**
 * What a DEALER says on its connection, from its first byte: greeting, READY, then messages of one part and heartbeats. Knows
 * nothing of sockets or time. Whatever else comes is a fault, and the peer is to be cut off.
 */
export class ZmtpPeer {
  readonly #events: PeerEvents;
  readonly #decoder: FrameDecoder;
  readonly #sink: FrameSink;
  #greeting: Buffer | undefined = Buffer.alloc(0);
  #isReady = false;
  #fault: Fault | undefined;

  constructor(events: PeerEvents, maxMessageBytes: number) {
    this.#events = events;
    this.#decoder = new FrameDecoder(maxMessageBytes);
    this.#sink = {
      message: (body) => (this.#isReady ? events.message(body) : this.#refuse()),
      command: (body) => this.#command(body),
    };
  }

  /** Whether it has said who it is, and messages may come. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Bytes kept of it. */
  get heldBytes(): number {
    return this.#decoder.heldBytes;
  }

  /** Whether a frame of it has begun and is not whole. */
  get inFrame(): boolean {
    return this.#decoder.inFrame;
  }

  set maxMessageBytes(bytes: number) {
    this.#decoder.maxMessageBytes = bytes;
  }

  /** Takes what has come; after a fault nothing more may. */
  receive(chunk: Buffer): Fault | undefined {
    const rest = this.#greeting === undefined ? chunk : this.#readGreeting(this.#greeting, chunk);
    return this.#fault ?? this.#decoder.push(rest, this.#sink) ?? this.#fault;
  }

  /** What follows the greeting. */
  #readGreeting(before: Buffer, chunk: Buffer): Buffer {
    const missing = GREETING_BYTES - before.length;
    const greeting = Buffer.concat([before, chunk.subarray(0, missing)]);
    if (!isGreeting(greeting)) this.#fault = "bad-zmtp";
    else if (before.length < SIGNATURE_BYTES && greeting.length >= SIGNATURE_BYTES) this.#events.answer(WELCOME);
    this.#greeting = greeting.length < GREETING_BYTES ? greeting : undefined;
    return chunk.subarray(missing);
  }

  #command(command: Buffer): boolean {
    if (!this.#isReady) {
      this.#isReady = isDealerReady(command);
      return this.#isReady || this.#refuse();
    }
    if (startsWith(command, PONG_NAME)) return command.length <= PONG_NAME.length + MAX_CONTEXT_BYTES || this.#refuse();
    const context = command.length - PING_NAME.length - TTL_BYTES;
    if (!startsWith(command, PING_NAME) || context < 0 || context > MAX_CONTEXT_BYTES) return this.#refuse();
    this.#events.answer(context === 0 ? PONG : encodeCommand("PONG", command.subarray(-context)));
    return true;
  }

  #refuse(): false {
    this.#fault = "bad-zmtp";
    return false;
  }
}

function startsWith(bytes: Buffer, name: Buffer): boolean {
  return bytes.length >= name.length && bytes.subarray(0, name.length).equals(name);
}
