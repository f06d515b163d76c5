import { expect, test } from "vitest";
import { Liveness } from "../../../../src/master/release/liveness.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { HandClock } from "../fakes.ts";

const MINUTE = 60_000;

async function setUp() {
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const open = async () =>
    Liveness.load({
      store,
      now: () => clock.time,
      monotonicMs: () => clock.time,
      worthMs: 30_000,
      report: (error) => {
        throw error;
      },
    });
  /** Everything that was to be stored is. */
  const settle = async () => void (await store.write([{ op: "delete", key: "none" }]));
  return { clock, open, settle };
}

test("the longest silence since the last lease counts, also when it has ended", async () => {
  const { clock, open } = await setUp();
  const liveness = await open();
  liveness.heard("web1");
  const leasedAt = clock.time;
  clock.time += 20 * MINUTE;
  expect(liveness.silentMs("web1", leasedAt)).toBe(20 * MINUTE);
  liveness.heard("web1");
  clock.time += MINUTE;
  liveness.heard("web1");
  expect(liveness.silentMs("web1", leasedAt)).toBe(20 * MINUTE);
  expect(liveness.silentMs("web1", clock.time)).toBe(0);
  expect(liveness.silentMs("unknown", 0)).toBeNull();
  liveness.close();
});

test("the master's own downtime is nobody's silence", async () => {
  const { clock, open, settle } = await setUp();
  const before = await open();
  before.heard("web1");
  const leasedAt = clock.time;
  await settle();
  await before.mark();
  before.close();
  clock.time += 600 * MINUTE;
  const after = await open();
  expect(after.silentMs("web1", leasedAt)).toBe(0);
  clock.time += 2 * MINUTE;
  expect(after.silentMs("web1", leasedAt)).toBe(2 * MINUTE);
  after.close();
});

test("a host that was gone when the master stopped has the silence of before and after, without the time between", async () => {
  const { clock, open, settle } = await setUp();
  const before = await open();
  before.heard("web1");
  const leasedAt = clock.time;
  clock.time += MINUTE;
  before.gone("web1");
  clock.time += 6 * MINUTE;
  await settle();
  await before.mark();
  before.close();
  clock.time += 600 * MINUTE;
  const after = await open();
  clock.time += 2 * MINUTE;
  after.heard("web1");
  expect(after.silentMs("web1", leasedAt)).toBe(9 * MINUTE);
  await settle();
  after.close();
  const again = await open();
  expect(again.silentMs("web1", leasedAt)).toBe(9 * MINUTE);
  again.close();
});
