import { Dealer } from "zeromq";
import type { Identity } from "../../../src/core/identity.ts";
import { Channel } from "../../../src/wire/channel.ts";
import { decodeFrame, encodeHandshake, encodeOpening, type Frame } from "../../../src/wire/frames.ts";
import { makeProof, prologue } from "../../../src/wire/handshake-proof.ts";
import { NoiseHandshake } from "../../../src/wire/noise.ts";
import { opened } from "./pair.ts";

/** How an attacker connects: with which ZMTP identity, which user name of PLAIN (none: NULL), from which address. */
export interface AttackerWays {
  readonly route?: string;
  readonly user?: string;
  readonly from?: string;
}

/** A peer that sends any bytes it likes, by libzmq. */
export class Attacker {
  /** What became of the connection, as ZeroMQ calls it. */
  readonly events: string[] = [];
  readonly #socket = new Dealer({ linger: 0, receiveTimeout: 60_000, reconnectInterval: -1 });

  constructor(port: number, { route, user, from }: AttackerWays = {}) {
    if (route !== undefined) this.#socket.routingId = route;
    if (user !== undefined) {
      this.#socket.plainUsername = user;
      this.#socket.plainPassword = "latchkey";
    }
    for (const type of ["handshake", "handshake:error:auth", "handshake:error:protocol", "disconnect"] as const) {
      this.#socket.events.on(type, () => this.events.push(type));
    }
    this.#socket.connect(`tcp://${from === undefined ? "" : `${from}:0;`}127.0.0.1:${port}`);
    opened.push({
      close: async () => {
        this.#socket.close();
        return Promise.resolve();
      },
    });
  }

  async send(...parts: Uint8Array[]): Promise<void> {
    await this.#socket.send(parts);
  }

  async receive(): Promise<Buffer> {
    const [frame] = await this.#socket.receive();
    return frame ?? Buffer.alloc(0);
  }

  /** XX as far as the master's verdict frame. */
  async xx(id: string, identity: Identity): Promise<{ readonly verdict: Buffer; readonly channel: Channel }> {
    const noise = new NoiseHandshake({
      pattern: "XX",
      role: "initiator",
      prologue: prologue(id),
      staticKey: identity.dh,
    });
    await this.send(
      encodeOpening(
        "xx1",
        id,
        noise.write(() => new Uint8Array(0)),
      ),
    );
    const reply = decoded(await this.receive(), "xx2");
    noise.read(reply.noise);
    const third = noise.write((binding) => makeProof("minion", identity, binding));
    await this.send(encodeHandshake("xx3", reply.sessionId, third));
    return { verdict: await this.receive(), channel: new Channel(reply.sessionId, noise.finish()) };
  }
}

/** A frame of the kind that is expected here; throws for any other. */
export function decoded<K extends Frame["kind"]>(bytes: Buffer, kind: K): Frame & { readonly kind: K } {
  const frame = decodeFrame(bytes);
  if (typeof frame === "string" || frame.kind !== kind) throw new Error(`expected ${kind}: ${JSON.stringify(frame)}`);
  return frame as Frame & { readonly kind: K };
}
