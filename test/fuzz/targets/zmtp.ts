import { encodeCommand, encodeMessageHead } from "../../../src/wire/zmtp/frame-bytes.ts";
import { GREETING_BYTES, SIGNATURE_BYTES } from "../../../src/wire/zmtp/greeting.ts";
import { PING, ZmtpPeer } from "../../../src/wire/zmtp/peer.ts";
import { promise, type Target } from "../target.ts";

const MAX_MESSAGE = 1000;
const MAX_COMMAND = 512;

/** All that a peer's bytes led to, as text. */
interface Trace {
  readonly messages: string[];
  readonly answers: string[];
  readonly fault: string | undefined;
}

/** Feeds the bytes in pieces of the given sizes, in turn. */
function trace(bytes: Buffer, sizes: readonly number[]): Trace {
  const messages: string[] = [];
  const answers: string[] = [];
  const events = {
    answer: (answer: Buffer) => answers.push(answer.toString("hex")),
    message: (body: Buffer) => messages.push(body.toString("hex")) > 0,
  };
  const peer = new ZmtpPeer(events, MAX_MESSAGE);
  let fault: string | undefined;
  for (let at = 0, turn = 0; at < bytes.length && fault === undefined; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    fault = peer.receive(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
    promise("what is kept is bounded", peer.heldBytes <= Math.max(MAX_MESSAGE, MAX_COMMAND));
    promise("what is kept is bounded by what came", peer.heldBytes <= Math.max(512, 2 * at));
  }
  return { messages, answers, fault };
}

function greeting(): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes[0] = 0xff;
  bytes[SIGNATURE_BYTES - 1] = 0x7f;
  bytes[10] = 3;
  bytes[11] = 1;
  bytes.write("NULL", 12);
  return bytes;
}

const property = (name: string, value: string) =>
  Buffer.concat([Buffer.of(name.length), Buffer.from(name), Buffer.of(0, 0, 0, value.length), Buffer.from(value)]);
const READY = encodeCommand("READY", Buffer.concat([property("Socket-Type", "DEALER"), property("Identity", "")]));
const message = (length: number) => Buffer.concat([encodeMessageHead(length), Buffer.alloc(length, length)]);

export const target: Target = {
  covers: [
    "src/wire/zmtp/frame-decoder.ts",
    "src/wire/zmtp/greeting.ts",
    "src/wire/zmtp/peer.ts",
    "src/wire/zmtp/frame-bytes.ts",
  ],
  refusals: [],
  dictionary: [
    "\x05READY",
    "\x04PING",
    "\x04PONG",
    "\x0bSocket-Type",
    "DEALER",
    "\x00\x05",
    "\x02\x00\x00\x00\x00\x00\x00\x00\x05",
    "\x04\x19",
  ],
  seeds: () => [
    greeting(),
    Buffer.concat([greeting(), READY, message(3), message(0), message(300)]),
    Buffer.concat([greeting(), READY, PING, message(1), encodeCommand("PONG", Buffer.alloc(0))]),
    Buffer.concat([greeting(), READY, encodeCommand("PING", Buffer.from("\0\0context")), message(999)]),
    Buffer.concat([greeting(), READY, message(1200)]),
  ],
  decode: (bytes) => {
    const whole = trace(bytes, [bytes.length]);
    for (const sizes of [[1], [7, 1, 64], [65, 3]]) {
      const split = trace(bytes, sizes);
      const same = (one: readonly string[], other: readonly string[]) => one.join() === other.join();
      promise("how bytes are cut changes no fault", split.fault === whole.fault);
      promise("how bytes are cut changes no message", same(split.messages, whole.messages));
      // what comes before a fault in the greeting is answered when it comes alone, and not with the fault behind it
      const isAnswered =
        same(split.answers, whole.answers) || (whole.fault !== undefined && whole.answers.length === 0);
      promise("how bytes are cut changes no answer", isAnswered);
    }
  },
};
