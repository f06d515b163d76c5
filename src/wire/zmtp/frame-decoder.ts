import { FLAG, headBytes, MAX_HEAD_BYTES } from "./frame-bytes.ts";

/** Why a peer is cut off: what it sends is not what we speak, or more than it may. */
export type Fault = "bad-zmtp" | "oversized";

/** Takes what was decoded; false ends the decoding, for the peer is gone by then. */
export interface FrameSink {
  /** The one part of a message. A view: whoever keeps it keeps what was read with it. */
  message(body: Buffer): boolean;
  command(body: Buffer): boolean;
}

/** READY with an identity of 255 bytes is the longest command that a DEALER sends. */
const MAX_COMMAND_BYTES = 512;
const FIRST_CAPACITY = 512;
const FLAGS = FLAG.more | FLAG.long | FLAG.command;
const UINT32 = 2 ** 32;
const NOTHING = Buffer.alloc(0);

/**
 * Bytes to ZMTP frames. A frame that came whole is handed on without a copy; of another as much is held as has really come,
 * at most twice that, whatever its head says. Messages of several parts are a fault: nothing here is ever kept for more to come.
 */
export class FrameDecoder {
  /** Most bytes of a message; may change at any time. */
  maxMessageBytes: number;
  readonly #head = Buffer.alloc(MAX_HEAD_BYTES);
  #headLength = 0;
  // of the frame whose head is known; -1 between frames
  #length = -1;
  #body = NOTHING;
  #has = 0;

  constructor(maxMessageBytes: number) {
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Bytes kept for a frame that is not whole yet. */
  get heldBytes(): number {
    return this.#body.length;
  }

  /** Whether a frame has begun and is not whole yet. */
  get inFrame(): boolean {
    return this.#headLength > 0;
  }

  /** Decodes what has come. After a fault there is nothing more to be made of this peer's bytes. */
  push(chunk: Buffer, sink: FrameSink): Fault | undefined {
    let at = 0;
    // a frame without a body is whole with its head
    while (at < chunk.length || this.#length === 0) {
      if (this.#length < 0) {
        at = this.#readHead(chunk, at);
        if (this.#headLength < headBytes(this.#head[0] ?? 0)) return this.#flagFault();
        const fault = this.#beginBody();
        if (fault) return fault;
      }
      const missing = this.#length - this.#has;
      if (chunk.length - at < missing) {
        this.#hold(chunk.subarray(at));
        return undefined;
      }
      const rest = chunk.subarray(at, at + missing);
      at += missing;
      if (!this.#hand(rest, sink)) return undefined;
    }
    return undefined;
  }

  #readHead(chunk: Buffer, begin: number): number {
    let at = begin;
    while (at < chunk.length && (this.#headLength === 0 || this.#headLength < headBytes(this.#head[0] ?? 0))) {
      this.#head[this.#headLength] = chunk[at] ?? 0;
      this.#headLength += 1;
      at += 1;
    }
    return at;
  }

  #flagFault(): Fault | undefined {
    const flags = this.#head[0] ?? 0;
    return (flags & ~FLAGS) !== 0 || (flags & FLAG.more) !== 0 ? "bad-zmtp" : undefined;
  }

  #beginBody(): Fault | undefined {
    const fault = this.#flagFault();
    if (fault) return fault;
    const flags = this.#head[0] ?? 0;
    const isLong = (flags & FLAG.long) !== 0;
    const length = isLong ? this.#head.readUInt32BE(1) * UINT32 + this.#head.readUInt32BE(5) : (this.#head[1] ?? 0);
    if (length > ((flags & FLAG.command) === 0 ? this.maxMessageBytes : MAX_COMMAND_BYTES)) return "oversized";
    this.#length = length;
    return undefined;
  }

  /** Keeps a piece of a body: in room that doubles, so that many small pieces cost no more than one. */
  #hold(piece: Buffer): void {
    const end = this.#has + piece.length;
    if (end > this.#body.length) {
      const capacity = Math.min(this.#length, Math.max(end, this.#body.length * 2, FIRST_CAPACITY));
      const room = Buffer.allocUnsafeSlow(capacity);
      this.#body.copy(room, 0, 0, this.#has);
      this.#body = room;
    }
    piece.copy(this.#body, this.#has);
    this.#has = end;
  }

  /** The frame is whole with its last piece. */
  #hand(rest: Buffer, sink: FrameSink): boolean {
    let body = rest;
    if (this.#has > 0) {
      this.#hold(rest);
      body = this.#body.subarray(0, this.#has);
    }
    const isCommand = ((this.#head[0] ?? 0) & FLAG.command) !== 0;
    this.#headLength = 0;
    this.#length = -1;
    this.#body = NOTHING;
    this.#has = 0;
    return isCommand ? sink.command(body) : sink.message(body);
  }
}
