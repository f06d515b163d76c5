import { expect, test, vi } from "vitest";
import type { JobEvent, JobRequest } from "../../../../src/core/control-api.ts";
import type { CampaignRequest } from "../../../../src/core/volume-api.ts";
import { HostError } from "../../../../src/core/errors.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import type { Entry, ListOptions } from "../../../../src/master/store/store.ts";
import { batchSize } from "../../../../src/master/volumes/campaign-record.ts";
import { Campaigns } from "../../../../src/master/volumes/campaigns.ts";
import { HandClock, openAudit, quiet, recordsOf } from "../fakes.ts";

const IDS = ["web1", "web2", "web3", "web4", "web5"];
const REQUEST: CampaignRequest = {
  target: { kind: "glob", expr: "*" },
  volumes: [],
  batch: "2",
  maxFailures: 1,
  deadlineMs: 3_600_000,
  keepOld: false,
};

/** Waits for the deadline's clock; the campaign's own pauses last until the test lets them go on. */
class PausingClock extends HandClock {
  readonly #pauses = new Set<() => void>();
  override async sleep(_ms?: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    this.#pauses.add(resolve);
    await promise.finally(() => this.#pauses.delete(resolve));
  }
  get pauses(): number {
    return this.#pauses.size;
  }
  goOn(): void {
    for (const resolve of this.#pauses) resolve();
  }
}

class ListedStore extends MemoryStore {
  isUnreadable = false;
  override async list(prefix: string, options?: ListOptions): Promise<readonly Entry[]> {
    if (this.isUnreadable) throw new HostError("store-failed", "cannot read it");
    return super.list(prefix, options);
  }
}

/** A fleet whose hosts rotate at once, fail, or are away. */
class World {
  readonly clock = new PausingClock();
  readonly store = new ListedStore(this.clock);
  readonly rotated = new Set<string>();
  readonly away = new Set<string>();
  readonly failing = new Set<string>();
  readonly batches: string[] = [];
  /** Whose heartbeats list a rotation. */
  readonly rotating = new Set<string>();
  readonly deleted = new Set<string>();
  unknown: readonly string[] = [];
  /** Volumes of a host that has not rotated. */
  left: readonly string[] = ["data"];
  mostAtOnce = 0;
  #atOnce = 0;
  /** A batch in which the master ends. */
  dieIn: string | undefined;
  campaigns: Campaigns | undefined;

  async open(): Promise<Campaigns> {
    this.campaigns?.close();
    this.campaigns = await Campaigns.load({
      store: this.store,
      audit: await openAudit(this.store, this.clock),
      events: new EventBus(this.clock),
      log: quiet,
      clock: this.clock,
      match: () => ({ ids: IDS, unknown: this.unknown }),
      acceptedIds: () => IDS.filter((id) => !this.deleted.has(id)),
      isConnected: (id) => !this.away.has(id),
      isRotating: (id) => this.rotating.has(id),
      left: async (id) => (this.rotated.has(id) ? [] : this.left),
      push: async (request) => this.#push(request),
      settleMs: 60_000,
    });
    return this.campaigns;
  }

  async *#push({ target, fun, args }: JobRequest): AsyncGenerator<JobEvent> {
    if (fun !== "volume.rotate" || args[0] !== "data") throw new Error(`not meant: ${fun}`);
    const ids = target.expr.split(",");
    this.batches.push(target.expr);
    this.#atOnce += ids.length;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    yield { event: "start", jid: "1", targets: ids, offline: [] };
    for (const id of ids) {
      const success = !this.failing.has(id);
      if (success) this.rotated.add(id);
      if (this.dieIn === id) throw new Error("the master ended");
      const data = { data: { result: success, comment: success ? "done" : "no room", changes: {} } };
      yield { event: "return", id, fun, success, retcode: success ? 0 : 1, data, durationMs: 1 };
    }
    this.#atOnce -= ids.length;
    yield { event: "end", succeeded: ids.length, failed: 0, missing: 0 };
  }

  state() {
    const campaign = this.campaigns?.list().at(-1);
    return campaign && { state: campaign.state, hosts: campaign.hosts.map(({ state }) => state).join(" ") };
  }
}

const until = (world: World, state: string, hosts: string) =>
  vi.waitFor(() => {
    if (world.state()?.state !== state || world.state()?.hosts !== hosts) {
      throw new Error(`${JSON.stringify(world.state())} is not ${state}: ${hosts}`);
    }
  });

test.each([
  ["10%", 50, 5],
  ["10%", 3, 1],
  ["5", 3, 5],
  ["0", 3, undefined],
  ["101%", 3, undefined],
  ["x", 3, undefined],
])("a batch of %s of %i hosts is %s", (batch, hosts, size) => {
  expect(batchSize(batch, hosts)).toBe(size);
});

test("batch after batch, never two at once, to the end; with notes in the audit log", async () => {
  const world = new World();
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await expect(campaigns.start(REQUEST)).rejects.toMatchObject({ code: "campaign-runs" });
  await until(world, "done", "done done done done done");
  expect(world.batches).toEqual(["web1,web2", "web3,web4", "web5"]);
  expect(world.mostAtOnce).toBe(2);
  const kinds = (await recordsOf(world.store)).map(({ kind }) => kind);
  expect(kinds).toEqual(["campaign-started", "campaign-batch", "campaign-batch", "campaign-batch", "campaign-ended"]);
});

test("a target that names a host which is not accepted begins nothing", async () => {
  const world = new World();
  world.unknown = ["typo"];
  const campaigns = await world.open();
  await expect(campaigns.start(REQUEST)).rejects.toThrow('no accepted minion of the id "typo"');
  expect(campaigns.list()).toEqual([]);
});

test("it stops when as many hosts failed as were allowed; the rest stays as it is", async () => {
  const world = new World();
  world.failing.add("web2");
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "stopped", "done failed waiting waiting waiting");
  expect(campaigns.list()[0]?.hosts[1]?.reason).toBe("data: no room");
  expect(world.rotated).toEqual(new Set(["web1"]));
});

test("a host that is away gets its work when it is back, until the deadline", async () => {
  const world = new World();
  world.away.add("web2").add("web4");
  const campaigns = await world.open();
  await campaigns.start({ ...REQUEST, keepOld: true });
  await until(world, "running", "done offline done offline done");
  expect(await campaigns.work("web1")).toEqual({ volumes: [], keepOld: false });
  expect(await campaigns.work("web2")).toEqual({ volumes: ["data"], keepOld: true });
  world.rotated.add("web2");
  await campaigns.returned("web2", "volume.rotate", true, {});
  expect(world.state()?.hosts).toBe("done done done offline done");
  world.clock.time += REQUEST.deadlineMs;
  expect(await campaigns.work("web4")).toEqual({ volumes: [], keepOld: false });
  world.clock.goOn();
  await until(world, "expired", "done done done offline done");
});

test("a campaign is taken up again after the master ended in the middle of a batch; no host rotates twice", async () => {
  const world = new World();
  world.dieIn = "web2";
  await (await world.open()).start(REQUEST);
  await expect.poll(() => world.batches).toHaveLength(1);
  await until(world, "running", "done running waiting waiting waiting");
  world.dieIn = undefined;
  // whoever was there is away for a moment, and not marked as that
  for (const id of IDS) world.away.add(id);
  (await world.open()).begin();
  await expect.poll(() => world.clock.pauses).toBe(1);
  world.away.clear();
  world.clock.goOn();
  await until(world, "done", "done skipped done done done");
  expect(world.batches).toEqual(["web1,web2", "web3,web4", "web5"]);
});

/** A campaign whose master ended in the middle of the batch of web1 and web2, web2 with its rotation behind it. */
async function restarted(world: World): Promise<Campaigns> {
  world.dieIn = "web2";
  await (await world.open()).start(REQUEST);
  await until(world, "running", "done running waiting waiting waiting");
  world.dieIn = undefined;
  const campaigns = await world.open();
  campaigns.begin();
  await expect.poll(() => world.clock.pauses).toBe(1);
  return campaigns;
}

test("a return that comes right after a restart of the master counts", async () => {
  const world = new World();
  const campaigns = await restarted(world);
  await campaigns.returned("web2", "volume.rotate", true, { data: { result: true } });
  expect(world.state()?.hosts).toBe("done done waiting waiting waiting");
  world.clock.goOn();
  await until(world, "done", "done done done done done");
  expect(world.batches).toEqual(["web1,web2", "web3,web4", "web5"]);
});

test("a failed return that comes right after a restart of the master counts", async () => {
  const world = new World();
  const campaigns = await restarted(world);
  world.rotated.delete("web2");
  await campaigns.returned("web2", "volume.rotate", false, { data: { result: false, comment: "no room" } });
  world.clock.goOn();
  await until(world, "stopped", "done failed waiting waiting waiting");
  expect(campaigns.list()[0]?.hosts[1]?.reason).toBe("data: no room");
});

test("a host that still rotates after a restart of the master is waited for, not pushed to once more", async () => {
  const world = new World();
  const campaigns = await restarted(world);
  world.rotated.delete("web2");
  world.rotating.add("web2");
  world.clock.goOn();
  await until(world, "running", "done running done done done");
  expect(world.batches).toEqual(["web1,web2", "web3", "web4", "web5"]);
  world.rotating.delete("web2");
  world.rotated.add("web2");
  await campaigns.returned("web2", "volume.rotate", true, { data: { result: true } });
  await until(world, "done", "done done done done done");
});

test("after a restart no more than a batch is handed out at once to a fleet that comes back together", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  await (await world.open()).start({ ...REQUEST, maxFailures: 2 });
  await until(world, "running", "offline offline offline offline offline");
  world.away.clear();
  const campaigns = await world.open();
  campaigns.begin();
  await expect.poll(() => world.clock.pauses).toBe(1);
  const handed = async () => {
    const all = await Promise.all(IDS.map(async (id) => ({ id, ...(await campaigns.work(id)) })));
    return all.filter(({ volumes }) => volumes.length > 0).map(({ id }) => id);
  };
  expect(await handed()).toEqual(["web1", "web2"]);
  expect(world.state()?.hosts).toBe("running running waiting waiting waiting");
  // who asks again, on a new session, goes on with what it has
  expect(await handed()).toEqual(["web1", "web2"]);
  world.rotated.add("web1");
  await campaigns.returned("web1", "volume.rotate", true, { data: { result: true } });
  world.clock.goOn();
  // one is still at it, so one more may begin at a time
  await until(world, "running", "done running done done done");
  expect(world.batches).toEqual(["web3", "web4", "web5"]);
});

test("as many failures as were allowed end it for those who ask as well", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  expect((await campaigns.work("web1")).volumes).toEqual(["data"]);
  await campaigns.returned("web1", "volume.rotate", false, { data: { result: false, comment: "no room" } });
  expect((await campaigns.work("web2")).volumes).toEqual([]);
  await until(world, "stopped", "failed waiting offline offline offline");
});

test("a host that took its work and went away or said nothing more holds nobody up", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  world.away.delete("web2");
  for (const id of ["web1", "web2"]) expect((await campaigns.work(id)).volumes).toEqual(["data"]);
  world.clock.goOn();
  await until(world, "running", "offline running offline offline offline");
  world.clock.time += 120_000;
  world.clock.goOn();
  await until(world, "running", "offline offline offline offline offline");
  expect((await campaigns.work("web3")).volumes).toEqual(["data"]);
});

test("a host that took its work is waited for as long as it rotates, however long that takes", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  for (const id of ["web1", "web2"]) {
    world.away.delete(id);
    await campaigns.work(id);
  }
  world.rotating.add("web1");
  world.clock.time += 120_000;
  world.clock.goOn();
  await until(world, "running", "running offline offline offline offline");
  // its heartbeat lists nothing for a moment: the count begins anew
  world.rotating.clear();
  world.clock.time += 60_000;
  await campaigns.work("web2");
  world.away.add("web2");
  world.clock.goOn();
  await until(world, "running", "running offline offline offline offline");
  expect(campaigns.list()[0]?.hosts[1]?.reason).toBe("connection lost during its rotation");
});

test("each volume that a host returns gives it time for the next", async () => {
  const world = new World();
  world.left = ["data", "logs"];
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  for (const id of ["web1", "web2"]) {
    world.away.delete(id);
    await campaigns.work(id);
  }
  world.clock.time += 70_000;
  await campaigns.returned("web1", "volume.rotate", true, { data: { result: true } });
  world.clock.time += 70_000;
  world.clock.goOn();
  await until(world, "running", "running offline offline offline offline");
  expect(campaigns.list()[0]?.hosts[1]?.reason).toBe("no return of its rotation came");
});

test("what fails outside the campaign's volumes does not count against it", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  world.away.delete("web1");
  await campaigns.work("web1");
  const other = { scratch: { result: false, comment: "no room" } };
  await campaigns.returned("web1", "volume.rotate", false, other);
  await campaigns.returned("web2", "volume.rotate", false, other);
  await campaigns.returned("web3", "volume.rotate", false, "no such volume");
  await until(world, "running", "running offline offline offline offline");
  await campaigns.returned("web1", "volume.rotate", false, "the pillar is broken");
  await until(world, "stopped", "failed offline offline offline offline");
  expect(campaigns.list()[0]?.hosts[0]?.reason).toBe("the pillar is broken");
});

test("a host whose key is deleted in the middle of it is passed over", async () => {
  const world = new World();
  for (const id of ["web2", "web4", "web5"]) world.away.add(id);
  await (await world.open()).start(REQUEST);
  await until(world, "running", "done offline done offline offline");
  world.deleted.add("web2").add("web4").add("web5");
  world.clock.goOn();
  await until(world, "done", "done skipped done skipped skipped");
  expect(world.campaigns?.list()[0]?.hosts[1]?.reason).toBe("its key is not accepted any more");
});

test("a campaign goes on when older ones cannot be taken out of the store", async () => {
  const world = new World();
  const campaigns = await world.open();
  const start = async () => {
    world.rotated.clear();
    world.clock.time += 1000;
    await campaigns.start(REQUEST);
    await until(world, "done", "done done done done done");
  };
  for (let count = 0; count < 10; count += 1) await start();
  world.store.isUnreadable = true;
  await start();
  world.store.isUnreadable = false;
  expect(campaigns.list()).toHaveLength(11);
  await start();
  expect(campaigns.list()).toHaveLength(10);
});

test("a rotation that a host goes on with by itself counts; another's gives it its turn", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  await campaigns.work("web1");
  await campaigns.work("web2");
  world.rotated.add("web1");
  await campaigns.returned("web1", "volume.rotate_resume", true, { data: { result: true } });
  // one from before the campaign: its own is left to do
  world.away.delete("web2");
  await campaigns.returned("web2", "volume.rotate_resume", true, { data: { result: true } });
  await until(world, "running", "done done offline offline offline");
  expect(world.batches).toEqual(["web2"]);
});

test("a store that fails for a moment stops it for that moment alone", async () => {
  const world = new World();
  world.failing.add("web1");
  const campaigns = await world.open();
  const started = campaigns.start({ ...REQUEST, maxFailures: 5 });
  await started;
  world.store.fail = "no space left";
  await expect.poll(() => world.clock.pauses).toBe(1);
  world.store.fail = undefined;
  world.clock.goOn();
  await until(world, "done", "failed done done done done");
});

test("only the newest campaigns are kept, and what became of their hosts", async () => {
  const world = new World();
  const campaigns = await world.open();
  for (let count = 0; count < 12; count += 1) {
    world.rotated.clear();
    world.clock.time += 1000;
    await campaigns.start(REQUEST);
    await until(world, "done", "done done done done done");
  }
  expect(campaigns.list()).toHaveLength(10);
  expect((await world.open()).list()).toEqual(campaigns.list());
  expect(await world.store.list("campaign/")).toHaveLength(10 * (1 + IDS.length));
});

test("an operator stops it; another may begin then", async () => {
  const world = new World();
  for (const id of IDS) world.away.add(id);
  const campaigns = await world.open();
  await campaigns.start(REQUEST);
  await until(world, "running", "offline offline offline offline offline");
  expect(await campaigns.stop()).toMatchObject({ state: "stopped", reason: "an operator stopped it" });
  await expect(campaigns.stop()).rejects.toMatchObject({ code: "no-campaign" });
  world.clock.time += 1;
  world.clock.goOn();
  expect(await campaigns.start(REQUEST)).toMatchObject({ state: "running" });
});
