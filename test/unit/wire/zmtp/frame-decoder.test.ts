import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeCommand, encodeMessageHead } from "../../../../src/wire/zmtp/frame-bytes.ts";
import { FrameDecoder } from "../../../../src/wire/zmtp/frame-decoder.ts";

const LIMIT = 4096;

/** Decodes pieces; what was found, and the most that was held meanwhile. */
function decode(pieces: readonly Uint8Array[], limit = LIMIT) {
  const decoder = new FrameDecoder(limit);
  const found: string[] = [];
  let held = 0;
  let fault: string | undefined;
  const sink = {
    message: (body: Buffer) => found.push(`message ${body.toString("hex")}`) > 0,
    command: (body: Buffer) => found.push(`command ${body.toString("hex")}`) > 0,
  };
  for (const piece of pieces) {
    fault ??= decoder.push(Buffer.from(piece), sink);
    held = Math.max(held, decoder.heldBytes);
  }
  return { found, fault, held };
}

const bytesOf = (bytes: Uint8Array) => [...bytes].map((byte) => Uint8Array.of(byte));

/** Any frame, most of them sound. */
const frame = fc.oneof(
  fc.uint8Array({ maxLength: 600 }).map((body) => Buffer.concat([encodeMessageHead(body.length), body])),
  fc.uint8Array({ maxLength: 40 }).map((data) => encodeCommand("PING", data)),
  // a short body with a size of eight bytes
  fc.uint8Array({ maxLength: 9 }).map((body) => Buffer.concat([Buffer.of(2, 0, 0, 0, 0, 0, 0, 0, body.length), body])),
);
const cuts = fc.array(fc.nat({ max: 5000 }), { maxLength: 12 });

function cutUp(bytes: Buffer, at: readonly number[]): readonly Buffer[] {
  const ends = [...at.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

test("frames come out the same whole, cut anywhere, and byte by byte; what is held is bounded by what came", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 12 }), cuts, (frames, at) => {
      const bytes = Buffer.concat(frames);
      const whole = decode([bytes]);
      expect(whole.found).toHaveLength(frames.length);
      expect(whole.fault).toBeUndefined();
      for (const pieces of [cutUp(bytes, at), bytesOf(bytes)]) {
        const cut = decode(pieces);
        expect([cut.found, cut.fault]).toEqual([whole.found, whole.fault]);
        expect(cut.held).toBeLessThanOrEqual(LIMIT);
      }
    }),
  );
});

test("random bytes never crash it, never make it hold more than the bound, and mean the same however they come", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), cuts, (noise, at) => {
      const bytes = Buffer.from(noise);
      const whole = decode([bytes]);
      for (const pieces of [cutUp(bytes, at), bytesOf(bytes)]) {
        const cut = decode(pieces);
        expect([cut.found, cut.fault]).toEqual([whole.found, whole.fault]);
        expect(cut.held).toBeLessThanOrEqual(LIMIT);
      }
    }),
    { numRuns: 500 },
  );
});

test.each([
  ["more parts to come", "0103", "bad-zmtp"],
  ["a large frame with more parts to come", "0300", "bad-zmtp"],
  ["a command with more parts", "0503", "bad-zmtp"],
  ["an unknown flag", "08", "bad-zmtp"],
  ["a message of 2^63 bytes", "028000000000000000", "oversized"],
  ["a message one byte too long", "020000000000001001", "oversized"],
  ["a command that is longer than any", "060000000000000400", "oversized"],
])("%s is a fault as soon as it can be seen", (_what, hex, fault) => {
  expect(decode([Buffer.from(hex, "hex")])).toEqual({ found: [], fault, held: 0 });
  expect(decode(bytesOf(Buffer.from(hex, "hex")))).toEqual({ found: [], fault, held: 0 });
});

test("what a frame claims costs nothing: as much is held as has come, at most twice that", () => {
  const limit = 8 * 1024 * 1024;
  const claimed = encodeMessageHead(limit);
  expect(decode([claimed, Buffer.alloc(100)], limit).held).toBeLessThanOrEqual(512);
  const pieces = Array.from({ length: 1000 }, () => Buffer.alloc(1000));
  expect(decode([claimed, ...pieces], limit).held).toBeLessThanOrEqual(2_000_000);
});

test("a sink that has enough gets nothing more of the same piece", () => {
  const decoder = new FrameDecoder(LIMIT);
  let calls = 0;
  const count = () => {
    calls += 1;
    return false;
  };
  const two = Buffer.from("00010200010300", "hex");
  expect(decoder.push(two, { message: count, command: count })).toBeUndefined();
  expect(calls).toBe(1);
});
