import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Channel } from "../../../src/wire/channel.ts";
import { decodeFrame } from "../../../src/wire/frames.ts";
import { signLease, signReceipt, verifyLease, verifyReceipt } from "../../../src/wire/lease-signature.ts";

const SESSION = "0011223344556677";

function pair(): { readonly sender: Channel; readonly receiver: Channel } {
  const [a, b] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  return {
    sender: new Channel(SESSION, { send: Buffer.from(a), receive: Buffer.from(b) }),
    receiver: new Channel(SESSION, { send: Buffer.from(b), receive: Buffer.from(a) }),
  };
}

function open(channel: Channel, bytes: Buffer): Buffer | string {
  const frame = decodeFrame(bytes);
  if (typeof frame === "string") return frame;
  return frame.kind === "data" ? channel.open(frame.counter, frame.frame) : "other";
}

test("lesson: 2022-22936 in any order and repetition of recorded frames, none is accepted twice or late", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9), { maxLength: 60 }), (order) => {
      const { sender, receiver } = pair();
      const frames = Array.from({ length: 10 }, (_, at) => sender.seal(Buffer.from([at])));
      const accepted: number[] = [];
      const dropped = new Set<string>();
      for (const at of order) {
        const got = open(receiver, frames[at] ?? Buffer.alloc(0));
        if (typeof got === "string") dropped.add(got);
        else accepted.push(got[0] ?? -1);
      }
      expect([...dropped].filter((reason) => reason !== "replayed")).toEqual([]);
      expect(accepted).toEqual([...new Set(accepted)].sort((x, y) => x - y));
    }),
  );
});

test("a frame changed in any byte is dropped, and the next good one still opens", () => {
  const { sender, receiver } = pair();
  fc.assert(
    fc.property(fc.nat(200), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const frame = sender.seal(Buffer.from("something"));
      const changed = Buffer.from(frame);
      const index = at % changed.length;
      changed[index] = (changed[index] ?? 0) ^ flip;
      expect(typeof (index >= 2 && index < 10 ? "elsewhere" : open(receiver, changed))).toBe("string");
      expect(open(receiver, frame)).toEqual(Buffer.from("something"));
    }),
  );
});

test("a session's own frames sent back to it do not open; a wiped one opens and seals nothing", () => {
  const { sender, receiver } = pair();
  expect(open(sender, sender.seal(Buffer.from("x")))).toBe("bad-seal");
  const frame = sender.seal(Buffer.from("x"));
  receiver.wipe();
  expect(open(receiver, frame)).toBe("replayed");
  expect(() => receiver.seal(Buffer.from("x"))).toThrow(/cannot seal/u);
});

const lease = {
  path: "password",
  purpose: "open",
  device: "/dev/vg/data",
  version: 0,
  luksUuid: "u",
  layout: 'version "2"',
  reencrypts: false,
  bootId: "b",
  ephemeral: Buffer.alloc(32, 3),
} as const;

test("lesson: 2024-38825 proof of possession: a lease is good from its signer, on its session, field by field", async () => {
  const [minion, other] = [generateIdentity(), generateIdentity()];
  const [here, there] = [Buffer.alloc(32, 4), Buffer.alloc(32, 5)];
  const signed = signLease(lease, minion, here);
  expect(await verifyLease(signed, minion.public, here)).toBe(true);
  expect(await verifyLease(signed, other.public, here)).toBe(false);
  expect(await verifyLease(signed, minion.public, there)).toBe(false);
  const changes = [
    { path: "p" },
    { purpose: "format" as const },
    { device: "" },
    { layout: "" },
    { reencrypts: true },
    { luksUuid: "ub" },
    { version: 1 },
    { bootId: "" },
  ];
  for (const change of [...changes, { ephemeral: Buffer.alloc(32) }, { luksUuid: "ub", bootId: "" }]) {
    expect(await verifyLease({ ...signed, ...change }, minion.public, here)).toBe(false);
  }
});

test("receipts are bound to signer, session and every field", async () => {
  const minion = generateIdentity();
  const here = Buffer.alloc(32, 4);
  const receipt = { leaseId: "l1", outcome: "used", wiped: true, tookMs: 3.5 } as const;
  const signed = signReceipt(receipt, minion, here);
  expect(await verifyReceipt(signed, minion.public, here)).toBe(true);
  for (const change of [{ leaseId: "l2" }, { outcome: "failed" as const }, { wiped: false }, { tookMs: 3 }]) {
    expect(await verifyReceipt({ ...signed, ...change }, minion.public, here)).toBe(false);
  }
});
