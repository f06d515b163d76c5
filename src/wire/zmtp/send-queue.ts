import { encodeMessageHead } from "./frame-bytes.ts";

/** Writes bytes towards the peer and says when they are the kernel's. */
export type Write = (bytes: Buffer, done: () => void) => void;

/** What may wait for a peer that does not read. */
export interface QueueBounds {
  readonly frames: number;
  readonly bytes: number;
}

/** Frames up to here are copied behind their heads; larger ones are written from where they are. */
const COPIED_BYTES = 8 * 1024;
/** Written at once: small enough that a slow reader is seen to read. */
const WRITE_BYTES = 128 * 1024;

/**
 * What waits to be sent to one peer. A frame leaves at once when none waits; those that come while one is being written
 * leave together.
 */
export class SendQueue {
  bounds: QueueBounds;
  readonly #write: Write;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #isWriting = false;
  #written = 0;
  /** Who waits until the kernel has taken so many bytes. */
  #waiting: { readonly until: number; readonly resolve: () => void }[] = [];
  #taken = 0;

  constructor(write: Write, bounds: QueueBounds) {
    this.#write = write;
    this.bounds = bounds;
  }

  /** Bytes that wait, those that the kernel has not taken among them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Times that the kernel took something; stands still while the peer does not read. */
  get written(): number {
    return this.#written;
  }

  /** A message's one part, not to be changed any more. False when too much waits already. */
  message(body: Uint8Array): boolean {
    const head = encodeMessageHead(body.length);
    if (body.length <= COPIED_BYTES) return this.#push([Buffer.concat([head, body])]);
    return this.#push([head, Buffer.from(body.buffer, body.byteOffset, body.byteLength)]);
  }

  /** Bytes of the protocol's own. They wait only for what is being written: a peer that has more to read can read it first. */
  control(bytes: Buffer): void {
    if (!this.#isWriting) this.#push([bytes]);
  }

  /** Resolves when the kernel has all that was sent until now, or never will. */
  async taken(): Promise<void> {
    if (this.#bytes === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ until: this.#taken + this.#bytes, resolve });
    await promise;
  }

  /** Nothing is written any more. */
  abandon(): void {
    this.#pieces.length = 0;
    this.#wake(Infinity);
  }

  #push(pieces: readonly Buffer[]): boolean {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (this.#pieces.length >= this.bounds.frames || this.#bytes + bytes > this.bounds.bytes) return false;
    this.#bytes += bytes;
    this.#pieces.push(...pieces);
    if (!this.#isWriting) this.#next();
    return true;
  }

  #next(): void {
    const batch: Buffer[] = [];
    let length = 0;
    for (let piece = this.#pieces[0]; piece && length < WRITE_BYTES; piece = this.#pieces[0]) {
      const part = piece.subarray(0, WRITE_BYTES - length);
      batch.push(part);
      length += part.length;
      if (part.length === piece.length) this.#pieces.shift();
      else this.#pieces[0] = piece.subarray(part.length);
    }
    this.#isWriting = true;
    const [first = Buffer.alloc(0), ...more] = batch;
    this.#write(more.length === 0 ? first : Buffer.concat(batch), () => {
      this.#isWriting = false;
      this.#written += 1;
      this.#bytes -= length;
      this.#taken += length;
      if (this.#waiting.length > 0) this.#wake(this.#taken);
      if (this.#pieces.length > 0) this.#next();
    });
  }

  #wake(taken: number): void {
    const ready = this.#waiting.filter(({ until }) => until <= taken);
    this.#waiting = this.#waiting.filter(({ until }) => until > taken);
    for (const { resolve } of ready) resolve();
  }
}
