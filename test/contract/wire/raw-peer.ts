import { connect, type Socket } from "node:net";
import type { Identity } from "../../../src/core/identity.ts";
import { decodeFrame, encodeHandshake, encodeOpening } from "../../../src/wire/frames.ts";
import { makeProof, prologue } from "../../../src/wire/handshake-proof.ts";
import { NoiseHandshake } from "../../../src/wire/noise.ts";
import { opened, until } from "./pair.ts";

/** Bytes of ZMTP as they stand on the wire. */
export const GREETING = Buffer.concat([
  Buffer.from("ff00000000000000017f0301", "hex"),
  Buffer.from("NULL"),
  Buffer.alloc(48),
]);
const READY_BODY = Buffer.concat([
  Buffer.from("\u0005READY\u000bSocket-Type\u0000\u0000\u0000\u0006DEALER", "latin1"),
  Buffer.from("\u0008Identity\u0000\u0000\u0000\u0000", "latin1"),
]);
export const READY = Buffer.concat([Buffer.of(4, READY_BODY.length), READY_BODY]);
export const PING = Buffer.concat([Buffer.of(4, 7), Buffer.from("\u0004PING\u0000\u0000", "latin1")]);

/** A message of one part, `flags` in place of none. */
export function message(body: Uint8Array, flags = 0): Buffer {
  if (body.length <= 255) return Buffer.concat([Buffer.of(flags, body.length), body]);
  return Buffer.concat([head(body.length, flags), body]);
}

/** The head of a long frame that claims so many bytes. */
export function head(length: number, flags = 0): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = flags | 2;
  bytes.writeBigUInt64BE(BigInt(length), 1);
  return bytes;
}

/** A TCP connection that says what it likes. */
export class RawPeer {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#isClosed = true;
    });
    opened.push({
      close: async () => {
        socket.destroy();
        return Promise.resolve();
      },
    });
  }

  /** A TCP connection, and nothing said on it. */
  static async bare(port: number, from = "127.0.0.1"): Promise<RawPeer> {
    const socket = connect({ host: "127.0.0.1", port, localAddress: from, noDelay: true });
    const peer = new RawPeer(socket);
    await until("a connection", () => !socket.connecting);
    return peer;
  }

  /** A connection on which messages may be sent. */
  static async connect(port: number, from = "127.0.0.1"): Promise<RawPeer> {
    const peer = await RawPeer.bare(port, from);
    peer.send(GREETING, READY);
    await until("READY", () => peer.#received.includes("ROUTER") || peer.#isClosed);
    peer.#received = peer.#received.subarray(peer.#received.indexOf("ROUTER") + 6);
    return peer;
  }

  /** Whether the master has closed it. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What has come and was not taken. */
  get received(): Buffer {
    return this.#received;
  }

  send(...bytes: Uint8Array[]): void {
    if (!this.#isClosed) this.#socket.write(Buffer.concat(bytes));
  }

  pause(): void {
    this.#socket.pause();
  }

  /** The next message, if it is a short one. */
  async receive(): Promise<Buffer> {
    await until("a message", () => this.#received.length > 2 && this.#received.length >= 2 + (this.#received[1] ?? 0));
    const end = 2 + (this.#received[1] ?? 0);
    const body = this.#received.subarray(2, end);
    this.#received = this.#received.subarray(end);
    return body;
  }

  /** XX, but for the answer to its third message. */
  async xxUntilThird(id: string, identity: Identity): Promise<void> {
    const noise = new NoiseHandshake({
      pattern: "XX",
      role: "initiator",
      prologue: prologue(id),
      staticKey: identity.dh,
    });
    const first = noise.write(() => new Uint8Array(0));
    this.send(message(encodeOpening("xx1", id, first)));
    const reply = decodeFrame(await this.receive());
    if (typeof reply === "string" || reply.kind !== "xx2") throw new Error("expected xx2");
    noise.read(reply.noise);
    const third = noise.write((binding) => makeProof("minion", identity, binding));
    this.send(message(encodeHandshake("xx3", reply.sessionId, third)));
  }

  close(): void {
    this.#socket.destroy();
  }
}
