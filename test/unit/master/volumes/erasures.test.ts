import { expect, test } from "vitest";
import { HostError } from "../../../../src/core/errors.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { Operators } from "../../../../src/master/release/operators.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { putRecord } from "../../../../src/master/store/record.ts";
import { erasureKey, type ErasureRecord } from "../../../../src/master/volumes/erasure-record.ts";
import { Erasures } from "../../../../src/master/volumes/erasures.ts";
import { collect, HandClock, openAudit, quiet } from "../fakes.ts";

const decided = (volume: string): ErasureRecord => ({
  erasure: "ab".repeat(16),
  id: "web1",
  volume,
  path: `volumes:${volume}:luks:key`,
  luksUuid: "u",
  by: "root",
  at: 1,
  expires: 1,
  state: "destroying",
  approvals: [],
});
const put = (record: ErasureRecord) => putRecord(erasureKey(record.id, record.volume), record);

/** A clock whose pauses last until the test lets them end. */
class PausingClock extends HandClock {
  #goOn = () => {};
  override async sleep(_ms?: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    this.#goOn = resolve;
    await promise;
  }
  goOn(): void {
    this.#goOn();
  }
}

test("what cannot be carried through at the start is said once and tried again; the rest of it is done", async () => {
  const clock = new PausingClock();
  const store = new MemoryStore(clock);
  const events = new EventBus(clock);
  const { events: told, end } = collect(events);
  const damaged = new Set(["data"]);
  const destroyed: string[] = [];
  const erasures = new Erasures({
    store,
    audit: await openAudit(store, clock),
    headers: {
      destroy: async (_id, volume) => {
        if (damaged.has(volume)) throw new HostError("store-failed", "cannot read it");
        return destroyed.push(volume);
      },
    },
    versions: { destroy: async () => {} },
    volumes: { get: () => undefined },
    erased: { get: async () => undefined },
    isConnected: () => false,
    operators: await Operators.load(store, async () => {}),
    compile: async () => ({ pillar: {}, secrets: new Map() }),
    master: "m",
    needed: 2,
    approvalMs: 1000,
    events,
    log: quiet,
    clock,
  });
  const unreadable = Buffer.from("not a record");
  await store.write([
    put(decided("data")),
    put(decided("logs")),
    { op: "put", key: "erasure/web1/bad", value: unreadable },
  ]);
  await erasures.resume();
  expect(destroyed).toEqual(["logs"]);
  const bad = { id: "web1", volume: "bad", reason: 'cannot read the record "erasure/web1/bad" of the store' };
  expect(erasures.stuck()).toEqual([bad, { id: "web1", volume: "data", reason: "cannot read it" }]);
  damaged.clear();
  clock.goOn();
  await expect.poll(() => destroyed).toEqual(["logs", "data"]);
  await expect.poll(() => erasures.stuck()).toEqual([bad]);
  expect(told.filter(({ tag }) => tag === "erasure/stuck/web1")).toHaveLength(2);
  erasures.close();
  end();
});
