import { expect, test } from "vitest";
import { EventBus } from "../../../../src/master/events.ts";
import { Witnesses } from "../../../../src/master/audit/witnesses.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { collect, HandClock, openAudit, quiet } from "../fakes.ts";

test("a minion whose word changes each time is told of three times, then once a minute; those of others always", async () => {
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const events = new EventBus(clock);
  const { events: seen } = collect(events);
  const audit = await openAudit(store, clock);
  const lines: unknown[] = [];
  const log = { ...quiet, error: (line: unknown) => void lines.push(line) };
  const witnesses = new Witnesses({ audit, store, events, log, clock });
  const dispute = async (id: string, n: number) => witnesses.heard(id, { seq: 1000 + n, hash: "0".repeat(64) });
  for (let n = 0; n < 100; n += 1) await dispute("bad", n % 2);
  await dispute("good", 1);
  clock.time += 60_000;
  await dispute("bad", 2);
  expect(lines).toMatchObject([{ id: "bad" }, { id: "bad" }, { id: "bad" }, { id: "good" }, { suppressed: 97 }]);
  await expect.poll(() => seen.map(({ tag }) => tag)).toHaveLength(5);
});
