import { expect, test } from "vitest";
import { FrameDecoder } from "../../../../src/wire/zmtp/frame-decoder.ts";
import { SendQueue } from "../../../../src/wire/zmtp/send-queue.ts";

const MANY = { frames: 1000, bytes: 64 * 1024 * 1024 };

/** A queue whose writes wait for `take`. */
function setUp(bounds = MANY) {
  const writes: Buffer[] = [];
  const pending: (() => void)[] = [];
  const queue = new SendQueue((bytes, done) => {
    writes.push(bytes);
    pending.push(done);
  }, bounds);
  const take = () => pending.shift()?.();
  const takeAll = () => {
    while (pending.length > 0) take();
  };
  return { queue, writes, take, takeAll };
}

test("a frame leaves at once; those that come meanwhile leave together, in order, whatever their sizes", () => {
  const { queue, writes, takeAll } = setUp();
  const sizes = [0, 1, 255, 256, 8192, 8193, 300_000, 5];
  sizes.forEach((size, index) => expect(queue.message(Buffer.alloc(size, index))).toBe(true));
  expect(writes).toHaveLength(1);
  takeAll();
  expect(Math.max(...writes.map(({ length }) => length))).toBeLessThanOrEqual(128 * 1024);
  const found: string[] = [];
  const add = (body: Buffer) => found.push(`${body.length} of ${body.at(0) ?? 0}`) > 0;
  const decoder = new FrameDecoder(400_000);
  expect(decoder.push(Buffer.concat(writes), { message: add, command: () => false })).toBeUndefined();
  expect(found).toEqual(sizes.map((size, index) => `${size} of ${size === 0 ? 0 : index}`));
  expect(queue.bytes).toBe(0);
});

test("what waits for a peer that does not read is bounded, in frames and in bytes; it takes more once some has left", () => {
  const few = setUp({ frames: 3, bytes: 1_000_000 });
  expect(Array.from({ length: 5 }, () => few.queue.message(Buffer.alloc(10)))).toEqual([true, true, true, true, false]);
  few.take();
  expect(few.queue.message(Buffer.alloc(10))).toBe(true);
  const small = setUp({ frames: 100, bytes: 1000 });
  expect(small.queue.message(Buffer.alloc(900))).toBe(true);
  expect(small.queue.message(Buffer.alloc(100))).toBe(false);
  expect(small.queue.bytes).toBe(909);
});

test("answers to PING do not pile up; a farewell waits until nothing else does", async () => {
  const { queue, writes, take } = setUp();
  const pong = Buffer.from("pong");
  for (let n = 0; n < 1000; n += 1) queue.control(pong);
  queue.message(Buffer.from("last"));
  const seen: string[] = [];
  const farewell = queue.taken().then(() => seen.push("taken"));
  take();
  await Promise.resolve();
  expect([writes.length, seen]).toEqual([2, []]);
  take();
  await farewell;
  expect([queue.written, queue.bytes]).toEqual([2, 0]);
  await queue.taken();
});

test("nobody waits for ever for a peer that is gone", async () => {
  const { queue } = setUp();
  queue.message(Buffer.alloc(10));
  queue.message(Buffer.alloc(10));
  const waiting = queue.taken().then(() => "over");
  queue.abandon();
  expect(await waiting).toBe("over");
});
