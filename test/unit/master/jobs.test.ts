import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditFact } from "../../../src/core/audit/chain.ts";
import type { JobEvent } from "../../../src/core/control-api.ts";
import { argumentsDigest } from "../../../src/core/operator-statement.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { EventBus } from "../../../src/master/events.ts";
import { Hosts } from "../../../src/master/hosts.ts";
import { jobReport } from "../../../src/master/jobs/report.ts";
import { Jobs } from "../../../src/master/jobs/jobs.ts";
import { Returns } from "../../../src/master/jobs/returns.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import type { Job, Request } from "../../../src/wire/messages.ts";
import { collect, FakeSession, HandClock, quiet } from "./fakes.ts";

let store: MemoryStore;
let clock: HandClock;
let events: EventBus;
let hosts: Hosts;
let jobs: Jobs;
let published: Job[];
let noted: AuditFact[];
/** Why nothing can be put on record. */
let failing: Error | undefined;
/** What the numbers of this start count from. */
let base: number;
const identity = generateIdentity();
const accepted = ["db1", "web1", "web2"];

async function start(): Promise<void> {
  hosts = await Hosts.load(store, clock);
  const returns = new Returns({ store, hosts, events, log: quiet, keepMs: 3_600_000, clock });
  jobs = await Jobs.load({
    store,
    journal: async (fact, changes) => {
      if (failing) throw failing;
      noted.push(fact);
      await store.write(changes);
    },
    hosts,
    returns,
    events,
    log: quiet,
    identity,
    sign: (job) => {
      published.push(job);
      return Buffer.from(`envelope ${job.seq - base}`.padEnd(JSON.stringify(job.args).length));
    },
    acceptedIds: () => accepted,
    keepMs: 3_600_000,
    heartbeatMs: 1000,
    clock,
  });
  base = jobs.seq;
}

beforeEach(async () => {
  store = new MemoryStore();
  clock = new HandClock();
  events = new EventBus(clock);
  published = [];
  noted = [];
  failing = undefined;
  await start();
});
afterEach(() => jobs.close());

async function connect(id: string, grains = {}): Promise<FakeSession> {
  const session = new FakeSession(id);
  await hosts.hello(session, { version: "1", bootId: "b", role: "agent", grains, lastSeq: 0 });
  return session;
}
const ask = (expr: string, kind: "glob" | "grain" | "list" = "glob", fun = "test.ping") => ({
  target: { kind, expr },
  fun,
  args: [],
  kwargs: {},
  timeoutMs: 1000,
});
const back = (jid: string, more: Partial<Request<"return">> = {}): Request<"return"> => ({
  jid,
  fun: "test.ping",
  success: true,
  retcode: 0,
  startedAt: 1,
  finishedAt: 2,
  startup: false,
  data: true,
  ...more,
});
async function drain(stream: { read(signal: AbortSignal): AsyncIterable<JobEvent> }): Promise<JobEvent[]> {
  const all: JobEvent[] = [];
  for await (const event of stream.read(new AbortController().signal)) all.push(event);
  return all;
}

test("publishes to who is there, names who is not, streams the returns", async () => {
  await connect("web1");
  const stream = await jobs.start(ask("web*"));
  const { jid } = published[0] ?? { jid: "" };
  expect(published).toMatchObject([{ seq: base + 1, target: { kind: "ids", ids: ["web1"] } }]);
  jobs.acked("web1", { jid });
  await jobs.returned("web1", back(jid));
  expect(await drain(stream)).toMatchObject([
    { event: "start", targets: ["web1", "web2"], offline: ["web2"] },
    { event: "ack", id: "web1" },
    { event: "return", id: "web1", data: true },
    { event: "end", succeeded: 1, missing: 1 },
  ]);
});

test("a peer that the transport knows to be gone is offline at once", async () => {
  const session = await connect("web1");
  session.reachable = false;
  expect(await drain(await jobs.start(ask("web1")))).toMatchObject([{ offline: ["web1"] }, { event: "end" }]);
  expect(published).toEqual([]);
});

test("a job that acts is on record before it goes out: one record, of its arguments the digest", async () => {
  await connect("web1");
  await connect("web2");
  const target = { kind: "list", expr: ["web1", "web2", ...Array<string>(100).fill("web1")].join() } as const;
  const request = { ...ask("web1"), target, fun: "cmd.run", args: ["echo swordfish"], kwargs: { env: "hunter2" } };
  await jobs.start(request);
  const { jid = "", issuedAt } = published[0] ?? {};
  const { args, kwargs } = request;
  expect(noted).toEqual([
    {
      at: issuedAt,
      kind: "job-started",
      actor: "master",
      from: "",
      subject: "",
      data: {
        jid,
        fun: "cmd.run",
        args: argumentsDigest(args, kwargs),
        targetKind: "list",
        target: `${target.expr.slice(0, 200)}…`,
        hosts: 2,
      },
    },
  ]);
  expect(JSON.stringify(noted)).not.toMatch(/swordfish|hunter2/u);
  await jobs.start(ask("web1"));
  expect(noted).toHaveLength(1);
});

test("a job that cannot be put on record goes out to nobody, and takes no number", async () => {
  await connect("web1");
  failing = new Error("disk full");
  await expect(jobs.start(ask("web1", "glob", "cmd.run"))).rejects.toThrow("disk full");
  expect(published.filter(({ seq }) => seq !== base + 1)).toEqual([]);
  expect([jobs.seq, jobs.since("web1", 0).envelopes]).toEqual([base, []]);
});

test.each([
  ["grain", "os:Debian", ["web1"]],
  ["grain", "os:Nope", []],
  ["list", "web2,nobody", ["nobody", "web2"]],
  ["glob", "nobody", ["nobody"]],
  ["glob", "nobod?", []],
  ["list", "web2,,web2, web1 ", ["web1", "web2"]],
  ["glob", "[dw]*1", ["db1", "web1"]],
] as const)("target %s %s means %j", async (kind, expr, ids) => {
  await connect("web1", { os: "Debian" });
  const { value } = await (await jobs.start(ask(expr, kind))).read(new AbortController().signal).next();
  expect(value).toMatchObject({ targets: ids });
});

test("an id that is named and not accepted is missing, and gets no part in the job", async () => {
  await connect("web1");
  const stream = await jobs.start(ask("web1,typo", "list"));
  expect(published).toMatchObject([{ target: { kind: "ids", ids: ["web1"] } }]);
  const jid = published[0]?.jid ?? "";
  expect((await jobReport(store, jid)).targets).toEqual(["web1"]);
  await jobs.returned("web1", back(jid));
  expect(await drain(stream)).toMatchObject([
    { event: "start" },
    { event: "missing", id: "typo", reason: "no accepted minion of that id" },
    { event: "return", id: "web1" },
    { event: "end", missing: 1 },
  ]);
});

test("named ids alone that are all unknown publish nothing", async () => {
  expect(await drain(await jobs.start(ask("typo")))).toMatchObject([
    { event: "start", targets: ["typo"] },
    { event: "missing", id: "typo" },
    { event: "end", missing: 1 },
  ]);
  expect(published).toEqual([]);
});

test.each([
  ["glob", ""],
  ["grain", "os"],
] as const)("lesson: 2022-22941, 2022-22967 targeting fails closed: %s %j is refused", async (kind, expr) => {
  await expect(jobs.start(ask(expr, kind))).rejects.toMatchObject({ code: "bad-target" });
  expect(published).toEqual([]);
});

test("I7: sequence numbers and job ids grow over restarts, also when the clock goes back", async () => {
  await connect("web1");
  await jobs.start(ask("web1"));
  jobs.close();
  clock.time -= 60_000;
  await start();
  await connect("web1");
  await jobs.start(ask("web1"));
  expect(published[1]?.seq).toBeGreaterThan(published[0]?.seq ?? Number.POSITIVE_INFINITY);
  expect(published[1]?.jid.localeCompare(published[0]?.jid ?? "")).toBe(1);
});

test("I8: a return is on disk before it is answered; one that cannot be stored is not answered", async () => {
  await connect("web1");
  await jobs.start(ask("web1"));
  const jid = published[0]?.jid ?? "";
  store.fail = "disk full";
  await expect(jobs.returned("web1", back(jid))).rejects.toMatchObject({ code: "store-failed" });
  store.fail = undefined;
  await jobs.returned("web1", back(jid));
  await jobs.returned("web1", back(jid, { data: "a second time" }));
  expect((await jobReport(store, jid)).returns).toMatchObject([{ id: "web1", data: true }]);
});

test("a return that comes too late for its stream is kept and shown", async () => {
  await connect("web1");
  await jobs.start(ask("web1"));
  const jid = published[0]?.jid ?? "";
  jobs.close();
  await start();
  await jobs.returned("web1", back(jid));
  expect((await jobReport(store, jid)).returns).toHaveLength(1);
});

test("lesson: 2025-22236, 2025-22239 a minion returns only for itself and for jobs that named it", async () => {
  const { events: seen } = collect(events);
  await connect("web1");
  await connect("db1");
  await jobs.start(ask("web1"));
  const jid = published[0]?.jid ?? "";
  await jobs.returned("db1", back(jid, { data: "poison" }));
  expect((await jobReport(store, jid)).returns).toEqual([]);
  await expect.poll(() => seen.map(({ tag }) => tag)).toContain("return/refused/db1");
});

test("runs that a minion starts itself live in its own room and are bounded", async () => {
  for (let n = 0; n < 60; n += 1) {
    const jid = `20260101000000000${String(n).padStart(3, "0")}`;
    await jobs.returned("web1", back(jid, { startup: true, fun: "state.highstate" }));
  }
  expect(await store.list("returns/")).toEqual([]);
  expect(await store.list("own-returns/web1/")).toHaveLength(50);
});

test("jobs missed by a reconnecting minion: only its own, only while somebody waits", async () => {
  await connect("web1");
  await connect("db1");
  await jobs.start(ask("web1"));
  await jobs.start(ask("db1"));
  const texts = (id: string, after: number) =>
    jobs.since(id, after).envelopes.map((bytes) => Buffer.from(bytes).toString());
  expect(texts("web1", 0)).toEqual(["envelope 1"]);
  expect(texts("db1", 0)).toEqual(["envelope 2"]);
  expect(texts("web1", base + 1)).toEqual([]);
  expect(texts("web2", 0)).toEqual([]);
  jobs.acked("web1", { jid: published[0]?.jid ?? "" });
  expect(texts("web1", 0)).toEqual([]);
});

const told = (session: FakeSession) =>
  session.notices.flatMap((notice) =>
    notice.kind === "job"
      ? [[Buffer.from(notice.envelope).toString().trimEnd(), Math.max(0, notice.after - base)]]
      : [],
  );

test("a job goes to the sessions of those that are meant, and says which one each must have taken before", async () => {
  const [web1, web2, db1] = [await connect("web1"), await connect("web2"), await connect("db1")];
  await jobs.start(ask("web1"));
  await jobs.start(ask("db1"));
  await jobs.start(ask("web*"));
  await expect.poll(() => told(web2)).toEqual([["envelope 3", 0]]);
  expect(told(web1)).toEqual([
    ["envelope 1", 0],
    ["envelope 3", 1],
  ]);
  expect(told(db1)).toEqual([["envelope 2", 0]]);
  expect([jobs.awaited("web1"), jobs.awaited("web2"), jobs.awaited("db1")]).toEqual([base + 3, base + 3, base + 2]);
  jobs.acked("web1", { jid: published[2]?.jid ?? "" });
  expect(jobs.awaited("web1")).toBe(base + 1);
});

test("nobody is told that the numbers stand at a job that is not out yet", async () => {
  await connect("web1");
  const gate = Promise.withResolvers<void>();
  const starting = jobs.start(ask("web1"), async () => gate.promise);
  await expect.poll(() => jobs.seq).toBe(base + 1);
  expect(jobs.since("web1", 0)).toMatchObject({ envelopes: [], seq: base });
  gate.resolve();
  await starting;
  expect(jobs.since("web1", 0)).toMatchObject({ envelopes: [{}], seq: base + 1 });
});

test("what a host missed comes in answers that fit in a frame, in order, and no job is larger than a frame", async () => {
  await connect("web1");
  for (let n = 0; n < 3; n += 1) await jobs.start({ ...ask("web1"), args: ["x".repeat(3_000_000)] });
  const first = jobs.since("web1", 0);
  expect(first).toMatchObject({ envelopes: [{}], seq: base + 1 });
  expect(jobs.since("web1", base + 2)).toMatchObject({ envelopes: [{}], seq: base + 3 });
  await expect(jobs.start({ ...ask("web1"), args: ["x".repeat(8_400_000)] })).rejects.toMatchObject({
    code: "job-too-large",
  });
});

test("without an acknowledgement the envelope is sent again on the session", async () => {
  const session = await connect("web1");
  await jobs.start(ask("web1"));
  await expect.poll(() => told(session)).toHaveLength(1);
  clock.time += 2000;
  await expect
    .poll(() => told(session))
    .toEqual([
      ["envelope 1", 0],
      ["envelope 1", 0],
    ]);
});

test("who does not acknowledge is missing after the time that was asked for", async () => {
  const session = await connect("web1");
  const stream = await jobs.start(ask("web1"));
  clock.time += 500;
  await expect.poll(() => told(session)).toHaveLength(2);
  clock.time += 500;
  expect((await drain(stream)).slice(1)).toMatchObject([
    { event: "missing", reason: "connected, but did not acknowledge the job" },
    { event: "end", missing: 1 },
  ]);
});

test("the job goes on when its reader leaves", async () => {
  await connect("web1");
  const stream = await jobs.start(ask("web1"));
  for await (const event of stream.read(new AbortController().signal)) if (event.event === "start") break;
  const jid = published[0]?.jid ?? "";
  await jobs.returned("web1", back(jid));
  expect((await jobReport(store, jid)).returns).toHaveLength(1);
});

test("the last highstate is told by status; a partial or test run is none", async () => {
  await connect("web1");
  const state = (result: boolean | null, changes = {}) => ({ result, changes });
  const data = { a: state(true), b: state(true, { x: 1 }), c: state(false) };
  await jobs.start(ask("web1", "glob", "state.highstate"));
  const first = published[0]?.jid ?? "";
  await jobs.returned("web1", back(first, { fun: "state.highstate", success: false, data }));
  const summary = { jid: first, success: false, succeeded: 2, changed: 1, failed: 1 };
  expect(hosts.status(["web1"])[0]?.lastHighstate).toMatchObject(summary);
  await jobs.start({ ...ask("web1", "glob", "state.apply"), args: ["web"] });
  await jobs.returned("web1", back(published[1]?.jid ?? "", { fun: "state.apply", data: { a: state(true) } }));
  await jobs.start(ask("web1", "glob", "state.highstate"));
  await jobs.returned("web1", back(published[2]?.jid ?? "", { fun: "state.highstate", data: { a: state(null) } }));
  expect(hosts.status(["web1"])[0]?.lastHighstate).toMatchObject(summary);
  expect((await Hosts.load(store)).status(["web1"])[0]?.lastHighstate).toMatchObject(summary);
});

test("a new agent session takes the place of the old one, whose end then changes nothing", async () => {
  const old = await connect("web1");
  const fresh = await connect("web1");
  expect(old.isClosed).toBe(true);
  expect(hosts.closed(old)).toBe(false);
  expect(hosts.session("web1")).toBe(fresh);
  expect(hosts.closed(fresh)).toBe(true);
  expect(hosts.connectedIds()).toEqual([]);
});
