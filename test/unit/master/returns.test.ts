import { beforeEach, expect, test } from "vitest";
import { EventBus } from "../../../src/master/events.ts";
import { Hosts } from "../../../src/master/hosts.ts";
import { Returns } from "../../../src/master/jobs/returns.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import type { Entry, WriteResult } from "../../../src/master/store/store.ts";
import type { Request } from "../../../src/wire/messages.ts";
import { HandClock, quiet } from "./fakes.ts";

const MIB = 1024 * 1024;

/** Notes which prefixes were listed with their values, and how many writes were under way at once. */
class WatchedStore extends MemoryStore {
  readonly listed: string[] = [];
  most = 0;
  #writing = 0;

  override async list(prefix: string): Promise<readonly Entry[]> {
    this.listed.push(prefix);
    return super.list(prefix);
  }

  override async write(changes: Parameters<MemoryStore["write"]>[0]): Promise<WriteResult> {
    this.#writing += 1;
    this.most = Math.max(this.most, this.#writing);
    try {
      return await super.write(changes);
    } finally {
      this.#writing -= 1;
    }
  }
}

let store: WatchedStore;
let returns: Returns;

beforeEach(async () => {
  const clock = new HandClock();
  store = new WatchedStore(clock);
  const hosts = await Hosts.load(store, clock);
  returns = new Returns({ store, hosts, events: new EventBus(clock), log: quiet, keepMs: 3_600_000, clock });
  store.listed.length = 0;
});

const jidOf = (n: number) => `20260101000000${String(n).padStart(6, "0")}`;
const own = (n: number, data: string): Request<"return"> => ({
  jid: jidOf(n),
  fun: "cmd.run",
  success: true,
  retcode: 0,
  startedAt: 1,
  finishedAt: 2,
  startup: false,
  data,
});
const kept = async (id: string) => (await store.sizes(`own-returns/${id}/`)).map(({ key }) => key.slice(-20));

test("own returns of a minion that come at once, after many large ones, are taken one by one without a value being read", async () => {
  for (let n = 0; n < 50; n += 1) await returns.keep("web1", own(n, "x".repeat(MIB / 2)));
  expect(await kept("web1")).toHaveLength(50);
  store.most = 0;
  await Promise.all(Array.from({ length: 64 }, async (_, n) => returns.keep("web1", own(100 + n, "tiny"))));
  expect(store.most).toBe(1);
  expect(store.listed).toEqual([]);
  expect(await kept("web1")).toEqual(Array.from({ length: 50 }, (_, n) => jidOf(114 + n)));
});

test("the returns of one minion do not wait for those of another, and take no room of theirs", async () => {
  await returns.keep("web2", own(1, "x".repeat(7 * MIB)));
  store.most = 0;
  await Promise.all(["web1", "db1"].map(async (id) => returns.keep(id, own(2, "x".repeat(7 * MIB)))));
  expect(store.most).toBe(2);
  for (let n = 3; n < 9; n += 1) await returns.keep("web1", own(n, "x".repeat(7 * MIB)));
  expect(await kept("web1")).toEqual([5, 6, 7, 8].map(jidOf));
  expect(await kept("web2")).toEqual([jidOf(1)]);
});

test("a return that comes a second time changes nothing and drops nothing", async () => {
  for (let n = 0; n < 50; n += 1) await returns.keep("web1", own(n, "first"));
  await returns.keep("web1", own(7, "second"));
  expect(await kept("web1")).toHaveLength(50);
});

test("one that could not be written does not stop the next", async () => {
  store.fail = "disk full";
  await expect(returns.keep("web1", own(1, "lost"))).rejects.toMatchObject({ code: "store-failed" });
  store.fail = undefined;
  await returns.keep("web1", own(2, "kept"));
  expect(await kept("web1")).toEqual([jidOf(2)]);
});

test("the data of a return are made into JSON once, and what is too large for a record is left out with a word", async () => {
  let made = 0;
  const data = Object.defineProperty({}, "toJSON", { value: () => ((made += 1), { row: "x" }) });
  await returns.keep("web1", { ...own(1, ""), data });
  expect(made).toBe(1);
  const large = await returns.keep("web1", own(2, "\u0001".repeat(2 * MIB)));
  expect(large?.data).toMatch(/^return of 125\d{5} bytes left out: more than 8388608$/u);
  expect(await kept("web1")).toEqual([jidOf(1), jidOf(2)]);
});
