import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeCommand } from "../../../../src/wire/zmtp/frame-bytes.ts";
import { WELCOME } from "../../../../src/wire/zmtp/greeting.ts";
import { ZmtpPeer } from "../../../../src/wire/zmtp/peer.ts";

const GREETING = Buffer.concat([Buffer.from("ff00000000000000017f0301", "hex"), Buffer.from("NULL"), Buffer.alloc(48)]);

function property(name: string, value: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  return Buffer.concat([Buffer.of(name.length), Buffer.from(name), length, Buffer.from(value)]);
}

const ready = (...properties: Buffer[]) => encodeCommand("READY", Buffer.concat(properties));
const DEALER = ready(property("Socket-Type", "DEALER"), property("Identity", ""));

/** Plays bytes to a peer, one piece after the other. */
function play(...pieces: readonly Uint8Array[]) {
  const answers: string[] = [];
  const messages: string[] = [];
  const peer = new ZmtpPeer(
    {
      answer: (bytes) => answers.push(bytes.equals(WELCOME) ? "welcome" : bytes.toString("latin1")),
      message: (body) => messages.push(body.toString("latin1")) > 0,
    },
    2048,
  );
  let fault: string | undefined;
  for (const piece of pieces) fault ??= peer.receive(Buffer.from(piece));
  return { answers, messages, fault, held: peer.heldBytes };
}

const bytesOf = (bytes: Uint8Array) => [...bytes].map((byte) => Uint8Array.of(byte));

test("a DEALER is welcomed after its signature, heard after READY, and its PING is answered with its own context", () => {
  expect(play(GREETING.subarray(0, 9)).answers).toEqual([]);
  expect(play(GREETING.subarray(0, 10)).answers).toEqual(["welcome"]);
  const all = Buffer.concat([
    GREETING,
    DEALER,
    Buffer.from("0002", "hex"),
    Buffer.from("hi"),
    encodeCommand("PING", Buffer.from("\0\0ctx")),
    encodeCommand("PONG", Buffer.alloc(16)),
  ]);
  const expected = { answers: ["welcome", "\u0004\u0008\u0004PONGctx"], messages: ["hi"], fault: undefined, held: 0 };
  expect(play(all)).toEqual(expected);
  expect(play(...bytesOf(all))).toEqual(expected);
});

test("the golden bytes of our own greeting and READY", () => {
  expect(WELCOME.toString("hex")).toBe(
    `ff00000000000000017f03014e554c4c${"00".repeat(48)}041c05${Buffer.from("READY").toString("hex")}` +
      `0b${Buffer.from("Socket-Type").toString("hex")}00000006${Buffer.from("ROUTER").toString("hex")}`,
  );
});

const after = (bytes: Uint8Array) => Buffer.concat([GREETING, DEALER, bytes]);
const plain = Buffer.from(GREETING);
plain.write("PLAIN", 12);
const old = Buffer.from(GREETING);
old[10] = 1;

test.each([
  ["HTTP", Buffer.from("GET / HTTP/1.1\r\n")],
  ["TLS", Buffer.from("160301", "hex")],
  ["another signature", Buffer.from("ff000000000000000100", "hex")],
  ["ZMTP 2", old],
  ["another mechanism", plain],
  ["a message before READY", Buffer.concat([GREETING, Buffer.from("000161", "hex")])],
  ["a PING before READY", Buffer.concat([GREETING, encodeCommand("PING", Buffer.alloc(2))])],
  ["READY of a SUB", Buffer.concat([GREETING, ready(property("Socket-Type", "SUB"))])],
  ["READY of nobody", Buffer.concat([GREETING, ready()])],
  ["READY that is cut short", Buffer.concat([GREETING, encodeCommand("READY", Buffer.from([11, 1, 2]))])],
  ["READY twice", after(DEALER)],
  ["SUBSCRIBE", after(encodeCommand("SUBSCRIBE", Buffer.from("x")))],
  ["ERROR", after(encodeCommand("ERROR", Buffer.from([0])))],
  ["a PING without its time to live", after(encodeCommand("PING", Buffer.alloc(1)))],
  ["a PING with too long a context", after(encodeCommand("PING", Buffer.alloc(19)))],
  ["a PONG with too long a context", after(encodeCommand("PONG", Buffer.alloc(17)))],
  ["a command without a name", after(Buffer.from("0400", "hex"))],
])("%s is a fault, whole or byte by byte", (_what, bytes) => {
  expect(play(bytes).fault).toBe("bad-zmtp");
  expect(play(...bytesOf(bytes)).fault).toBe("bad-zmtp");
});

test("whatever comes before or after a greeting, nothing crashes and little is held", () => {
  const sound = fc.constantFrom(GREETING, DEALER, encodeCommand("PING", Buffer.alloc(2)), Buffer.from("000161", "hex"));
  const piece = fc.oneof({ weight: 3, arbitrary: sound }, fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      const whole = play(Buffer.concat(pieces));
      const cut = play(...bytesOf(Buffer.concat(pieces)));
      expect([cut.answers, cut.messages, cut.fault]).toEqual([whole.answers, whole.messages, whole.fault]);
      expect(whole.held).toBeLessThanOrEqual(2048);
    }),
    { numRuns: 300 },
  );
});
