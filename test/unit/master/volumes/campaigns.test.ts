import { expect, test, vi } from "vitest";
import type { JobEvent, JobRequest } from "../../../../src/core/control-api.ts";
import type { CampaignRequest } from "../../../../src/core/volume-api.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
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
  readonly #pauses: (() => void)[] = [];
  override async sleep(_ms?: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    this.#pauses.push(resolve);
    await promise;
  }
  goOn(): void {
    for (const resolve of this.#pauses.splice(0)) resolve();
  }
}

/** A fleet whose hosts rotate at once, fail, or are away. */
class World {
  readonly clock = new PausingClock();
  readonly store = new MemoryStore(this.clock);
  readonly rotated = new Set<string>();
  readonly away = new Set<string>();
  readonly failing = new Set<string>();
  readonly batches: string[] = [];
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
      match: () => IDS,
      isConnected: (id) => !this.away.has(id),
      left: async (id) => (this.rotated.has(id) ? [] : ["data"]),
      push: async (request) => this.#push(request),
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
  (await world.open()).begin();
  await until(world, "done", "done skipped done done done");
  expect(world.batches).toEqual(["web1,web2", "web3,web4", "web5"]);
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
