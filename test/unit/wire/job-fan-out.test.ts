import { expect, test } from "vitest";
import type { Notice } from "../../../src/wire/messages.ts";
import { JobFanOut } from "../../../src/wire/job-fan-out.ts";
import { FAN_OUT_BYTES } from "../../../src/wire/limits.ts";
import { HandClock } from "../master/fakes.ts";

const epoch = { epoch: 1, nonce: new Uint8Array(16), signature: new Uint8Array(64) };
const MIB = 1024 * 1024;

/** A session whose transport takes what it is told when the test says so. */
class Reader {
  readonly told: Notice[] = [];
  readonly #waiting: (() => void)[] = [];
  isClosed = false;
  isQuick = true;

  async notify(notice: Notice): Promise<boolean> {
    this.told.push(notice);
    if (this.isQuick) return true;
    return new Promise((resolve) => this.#waiting.push(() => resolve(true)));
  }

  take(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Sleeps end when the test says so. */
class WaitingClock extends HandClock {
  readonly sleeps: { readonly end: () => void }[] = [];
  override async sleep(): Promise<void> {
    return new Promise((end) => this.sleeps.push({ end }));
  }
}

function fleet(count: number, isQuick: boolean) {
  const clock = new WaitingClock();
  const reported: unknown[] = [];
  const fanOut = new JobFanOut({ clock, report: (_id, error) => reported.push(error) });
  const readers = new Map(Array.from({ length: count }, (_, at) => [`h${at}`, new Reader()]));
  for (const reader of readers.values()) reader.isQuick = isQuick;
  const ids = [...readers.keys()];
  const send = async (bytes: number, of = ids) =>
    fanOut.send({
      envelope: new Uint8Array(bytes),
      epoch,
      ids: of,
      find: (id) => {
        const session = readers.get(id);
        return session && { session, after: 0 };
      },
    });
  const told = () => [...readers.values()].filter((reader) => reader.told.length > 0).length;
  return { clock, reported, fanOut, readers, ids, send, told };
}

test("of a large job for 1,440 hosts no more is sealed at once than the bound", async () => {
  const { fanOut, readers, send, told } = fleet(1440, false);
  const sending = send(MIB);
  await expect.poll(told).toBe(FAN_OUT_BYTES / MIB);
  expect(fanOut.heldBytes).toBe(FAN_OUT_BYTES);
  while (told() < 1440) {
    for (const reader of readers.values()) reader.take();
    await new Promise((turn) => setImmediate(turn));
    expect(fanOut.heldBytes).toBeLessThanOrEqual(FAN_OUT_BYTES);
  }
  for (const reader of readers.values()) reader.take();
  await sending;
  await expect.poll(() => fanOut.heldBytes).toBe(0);
});

test("hosts that read nothing do not hold up the others: the slowest sessions end", async () => {
  const { clock, readers, send, told } = fleet(40, false);
  for (const id of ["h38", "h39"]) (readers.get(id) as Reader).isQuick = true;
  const sending = send(MIB);
  while (told() < 40) {
    await new Promise((turn) => setImmediate(turn));
    clock.sleeps.shift()?.end();
  }
  await sending;
  const closed = [...readers].filter(([, { isClosed }]) => isClosed).map(([id]) => id);
  expect(closed).toEqual(Array.from({ length: 23 }, (_, at) => `h${at}`));
});

test("a job larger than the bound still goes out, one copy at a time; the next job keeps its place behind it", async () => {
  const { readers, send, told } = fleet(3, false);
  const large = send(FAN_OUT_BYTES + 1);
  const small = send(10, ["h0"]);
  for (let count = 1; count <= 3; count += 1) {
    await expect.poll(told).toBe(count);
    expect(readers.get("h0")?.told).toHaveLength(1);
    for (const reader of readers.values()) reader.take();
  }
  await large;
  await small;
  expect(readers.get("h0")?.told).toHaveLength(2);
});

test("between batches of a small job all else has its turn", async () => {
  const { send, told } = fleet(1440, true);
  const seen: number[] = [];
  let isOver = false;
  const watch = () => {
    seen.push(told());
    if (!isOver) setImmediate(watch);
  };
  setImmediate(watch);
  await send(300);
  isOver = true;
  expect(new Set(seen).size).toBeGreaterThan(10);
});

test("a session that throws is reported, and the rest are told", async () => {
  const { readers, reported, send, told } = fleet(3, true);
  (readers.get("h1") as Reader).notify = async () => {
    throw new Error("a mistake of ours");
  };
  await send(10);
  expect(told()).toBe(2);
  expect(reported).toHaveLength(1);
});
