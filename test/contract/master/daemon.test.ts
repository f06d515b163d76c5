import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { controlClient } from "../../../src/cli/control-client.ts";
import type {
  ControlEvent,
  JobEvent,
  JobReport,
  KeyList,
  LeaseList,
  MasterStatus,
} from "../../../src/core/control-api.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { startMinion, type TestMinion, until } from "../wire/pair.ts";
import { leaseKey, portsOf, type Rig, rig, scratch, tinyPillar } from "./rig.ts";

const key = randomBytes(32);
const pillar = { openPillar: async () => tinyPillar(key) };
let directory: string;
let remove: () => void;
let running: Rig[];
let minions: TestMinion[];

beforeEach(() => {
  ({ directory, remove } = scratch());
  running = [];
  minions = [];
});
afterEach(async () => {
  await Promise.all(minions.map(async ({ connection }) => connection.close()));
  await Promise.all(running.map(async (one) => one.stop()));
  remove();
});

async function up(more: Parameters<typeof rig>[2] = {}): Promise<Rig> {
  const one = await rig(directory, pillar, more);
  running.push(one);
  return one;
}
function joinFleet(one: Rig, id: string, setup: Parameters<typeof startMinion>[1] = {}): TestMinion {
  const minion = startMinion(portsOf(one), { id, fingerprints: [one.master.fingerprint], ...setup });
  minions.push(minion);
  return minion;
}
const keysOf = async ({ client }: Rig) =>
  (await client.request<KeyList>("GET", "/v1/keys")).keys.map(({ id, state }) => `${id} ${state}`);
async function enrol(one: Rig, id: string): Promise<TestMinion> {
  const minion = joinFleet(one, id);
  await expect.poll(async () => keysOf(one)).toContain(`${id} pending`);
  await one.accept(id);
  await minion.connection.ready(AbortSignal.timeout(60_000));
  await expect
    .poll(async () => (await one.client.request<MasterStatus>("GET", "/v1/status")).minions)
    .toContainEqual(expect.objectContaining({ id, connected: true, version: "1", address: "127.0.0.1" }));
  return minion;
}
const ping = (expr: string, timeoutMs = 60_000) => ({
  target: { kind: "glob", expr },
  fun: "test.ping",
  args: [],
  kwargs: {},
  timeoutMs,
});
const back = (jid: string) => ({
  jid,
  fun: "test.ping",
  success: true,
  retcode: 0,
  startedAt: 1,
  finishedAt: 2,
  startup: false,
  data: true,
});

test("the whole way: enrol, accept, pillar, lease, job, return, status", async () => {
  const one = await up();
  mkdirSync(join(directory, "states"));
  writeFileSync(join(directory, "states/web.sls"), "a: test.nop\n");
  const minion = await enrol(one, "web1");
  expect(await minion.connection.request("pillar", {})).toEqual({
    pillar: { disk: { password: "secret:disk:password" } },
  });
  const { files } = await minion.connection.request("files.list", {});
  expect(files).toMatchObject([{ path: "web.sls", size: 12 }]);
  const chunk = await minion.connection.request("files.get", { path: "web.sls", offset: 0 });
  expect([chunk.found, Buffer.from(chunk.data).toString(), chunk.eof]).toEqual([true, "a: test.nop\n", true]);
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  expect(await leaseKey(minion, "other")).toBe("deny");

  const events: JobEvent[] = [];
  for await (const event of one.client.stream<JobEvent>("POST", "/v1/jobs", ping("*"))) {
    events.push(event);
    if (event.event === "start") {
      await until("the job", () => minion.jobs.length === 1);
      const jid = minion.jobs[0]?.jid ?? "";
      await minion.connection.request("job.ack", { jid });
      await minion.connection.request("return", back(jid));
    }
  }
  expect(events.map(({ event }) => event)).toEqual(["start", "ack", "return", "end"]);
  const { leases } = await one.client.request<LeaseList>("GET", "/v1/leases");
  expect(leases).toMatchObject([
    { verdict: "deny", path: "other" },
    { verdict: "allow", path: "disk:password" },
  ]);
});

test("lesson: 2020-11651 before it is accepted a peer reaches no method at all", async () => {
  const one = await up();
  const minion = joinFleet(one, "web1");
  await until("a wait", () => minion.states.some(({ kind }) => kind === "waiting-for-acceptance"));
  for (const method of ["pillar", "files.list", "bye"] as const) {
    await expect(minion.connection.request(method, {}, { timeoutMs: 300 })).rejects.toMatchObject({ exitStatus: 4 });
  }
  expect(await keysOf(one)).toEqual(["web1 pending"]);
});

test.each(["../state/identity", "/etc/passwd", "a/../../state/identity", "link", "fifo", "a\0b", ""])(
  "lesson: 2020-11652, 2024-22231 no path leads out of the file roots: %j",
  async (path) => {
    mkdirSync(join(directory, "states"));
    symlinkSync(join(directory, "state/identity"), join(directory, "states/link"));
    spawnSync("mkfifo", [join(directory, "states/fifo")]);
    const one = await up();
    const minion = await enrol(one, "web1");
    expect(await minion.connection.request("files.get", { path, offset: 0 })).toMatchObject({ found: false });
    expect((await minion.connection.request("files.list", {})).files).toEqual([]);
  },
);

test("lesson: deleting a key cuts the live session, and the id enrols afresh", async () => {
  const one = await up();
  const minion = await enrol(one, "web1");
  await one.client.request("POST", "/v1/keys", { action: "delete", match: "web1", dryRun: false });
  await until("the end of the session", () => minion.connection.state.kind !== "connected");
  await expect.poll(async () => keysOf(one)).toEqual(["web1 pending"]);
  await expect(leaseKey(minion, "disk:password")).rejects.toMatchObject({ exitStatus: 4 });
});

test("an id that another key holds: the usurper is refused, an event tells", async () => {
  const one = await up();
  await enrol(one, "web1");
  const following = new AbortController();
  const seen: ControlEvent[] = [];
  const follower = controlClient(one.master.socket, following.signal);
  const reading = (async () => {
    for await (const event of follower.stream<ControlEvent>("GET", "/v1/events")) seen.push(event);
  })().catch(() => {});
  joinFleet(one, "web1");
  await expect.poll(async () => keysOf(one)).toEqual(["web1 accepted", "web1 denied"]);
  await expect.poll(() => seen.map(({ tag }) => tag)).toContain("key/denied/web1");
  following.abort();
  await reading;
});

test("the client may go in the middle of a stream: the job goes on and its return is kept", async () => {
  const one = await up();
  const minion = await enrol(one, "web1");
  for await (const event of one.client.stream<JobEvent>("POST", "/v1/jobs", ping("web1"))) {
    if (event.event === "start") break;
  }
  await until("the job", () => minion.jobs.length === 1);
  const jid = minion.jobs[0]?.jid ?? "";
  await minion.connection.request("return", back(jid));
  const report = await one.client.request<JobReport>("GET", `/v1/jobs/${jid}`);
  expect(report.returns).toMatchObject([{ id: "web1", data: true }]);
});

test("a host that went without a word is named offline at once, and status says so", async () => {
  const one = await up({ heartbeat: 3600 });
  const minion = await enrol(one, "web1");
  await minion.connection.close();
  await expect
    .poll(async () => {
      const events: JobEvent[] = [];
      for await (const event of one.client.stream<JobEvent>("POST", "/v1/jobs", ping("*", 1000))) events.push(event);
      return events;
    })
    .toMatchObject([
      { event: "start", offline: ["web1"] },
      { event: "end", missing: 1 },
    ]);
  const { minions: lines } = await one.client.request<MasterStatus>("GET", "/v1/status");
  expect(lines).toMatchObject([{ id: "web1", connected: false }]);
});

test("status counts the connections: with a session, without, and how many there may be", async () => {
  const one = await up();
  await enrol(one, "web1");
  const idle = connect({ host: "127.0.0.1", port: one.master.ports.return }).on("error", () => {});
  const counts = async () => (await one.client.request<MasterStatus>("GET", "/v1/status")).connections;
  await expect.poll(counts).toMatchObject({ sessions: 1, strangers: 1 });
  expect((await counts()).most).toBeGreaterThan(100);
  idle.destroy();
  await expect.poll(counts).toMatchObject({ sessions: 1, strangers: 0 });
});

test("I8: after a restart the identity, the keys and the sequence are the same", async () => {
  const one = await up();
  const minion = await enrol(one, "web1");
  for await (const event of one.client.stream<JobEvent>("POST", "/v1/jobs", ping("*"))) {
    if (event.event === "start") break;
  }
  // "start" is told before it has gone out
  await expect.poll(() => minion.jobs.length, { timeout: 60_000 }).toBe(1);
  const { fingerprint, ports } = one.master;
  await one.stop();
  const two = await up({ ret_port: ports.return });
  expect(two.master.fingerprint).toBe(fingerprint);
  await expect
    .poll(async () => (await two.client.request<MasterStatus>("GET", "/v1/status")).minions, { timeout: 60_000 })
    .toMatchObject([{ id: "web1", connected: true }]);
  for await (const event of two.client.stream<JobEvent>("POST", "/v1/jobs", ping("*"))) {
    if (event.event === "start") break;
  }
  await expect.poll(() => minion.jobs.length, { timeout: 60_000 }).toBe(2);
  const [before, after] = minion.jobs;
  expect(after?.seq).toBeGreaterThan(before?.seq ?? Number.POSITIVE_INFINITY);
});

test("lesson: 2020-17490, 2023-34049 what the master makes is its owner's alone", async () => {
  const one = await up();
  const mode = (path: string) => statSync(join(directory, path)).mode & 0o777;
  const modes = readdirSync(join(directory, "state")).map((name) => [name, mode(`state/${name}`).toString(8)]);
  expect(new Set(modes.map(([, bits]) => bits))).toEqual(new Set(["600"]));
  expect(modes.map(([name]) => name)).toEqual(expect.arrayContaining(["identity", "store.db"]));
  expect([mode("state"), mode("run"), mode("run/master.sock")]).toEqual([0o700, 0o700, 0o600]);
  expect(readdirSync(join(directory, "run"))).toEqual(["master.sock"]);
  await one.stop();
  running = [];
  expect(readdirSync(join(directory, "run"))).toEqual([]);
});

test("two machines with the same id and key: each ends the other's session, jobs go on, and the operator is told once", async () => {
  const one = await up({ auto_accept: true });
  const told: ControlEvent[] = [];
  // until the master stops
  void (async () => {
    for await (const event of one.client.stream<ControlEvent>("GET", "/v1/events")) {
      if (event.tag.startsWith("session/contested/")) told.push(event);
    }
  })().catch(() => undefined);
  const identity = generateIdentity();
  const first = joinFleet(one, "web1", { identity });
  await first.connection.ready(AbortSignal.timeout(60_000));
  const copy = joinFleet(one, "web1", { identity });
  await expect.poll(() => told, { timeout: 60_000 }).toHaveLength(1);
  expect(told[0]).toMatchObject({ tag: "session/contested/web1", data: { addresses: ["127.0.0.1"] } });
  await copy.connection.close();
  await first.connection.ready(AbortSignal.timeout(60_000));
  await expect
    .poll(async () => (await one.client.request<MasterStatus>("GET", "/v1/status")).minions, { timeout: 60_000 })
    .toMatchObject([{ id: "web1", connected: true }]);
  expect(told).toHaveLength(1);
}, 120_000);

test("lesson: 2020-25592 the control API answers nobody but the owner of its socket", async () => {
  const one = await up();
  const socket = join(directory, "run/master.sock");
  // the way to it is closed as well, but its own mode must be enough
  chmodSync(join(directory, "run"), 0o755);
  chmodSync(directory, 0o755);
  const program = `process.setuid(65534); require("node:net").connect(${JSON.stringify(socket)})
    .on("connect", () => console.log("connected")).on("error", ({ code }) => console.log(code))`;
  // without root there is nobody else to be: then the mode alone is looked at
  const { stdout } = spawnSync(process.execPath, ["-e", program], { encoding: "utf8" });
  expect(stdout).toBe(process.getuid?.() === 0 ? "EACCES\n" : "");
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  await one.stop();
  running = [];
});

test("a second master on the same state, socket or port is refused with the reason, and the first goes on", async () => {
  const one = await up();
  const other = scratch();
  const elsewhere = join(other.directory, "state");
  await expect(up()).rejects.toMatchObject({ code: "store-locked" });
  await expect(up({ state_dir: elsewhere })).rejects.toMatchObject({ code: "socket-in-use" });
  await expect(
    up({ state_dir: elsewhere, socket: join(other.directory, "s"), ret_port: one.master.ports.return }),
  ).rejects.toMatchObject({ code: "cannot-bind" });
  expect(await keysOf(one)).toEqual([]);
  other.remove();
});

test("a socket that a dead process left is replaced; any other file is not touched", async () => {
  mkdirSync(join(directory, "run"));
  const path = join(directory, "run/master.sock");
  const program = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", program]);
  expect(statSync(path).isSocket()).toBe(true);
  const one = await up();
  expect(await keysOf(one)).toEqual([]);
  await one.stop();
  running = [];
  writeFileSync(path, "mine");
  await expect(up()).rejects.toMatchObject({ code: "socket-path" });
  expect(readFileSync(path, "utf8")).toBe("mine");
});

test("a store that cannot be written: the master does not start", async () => {
  mkdirSync(join(directory, "state"));
  mkdirSync(join(directory, "state/store.db"));
  await expect(up()).rejects.toMatchObject({ code: "store-failed" });
});

test.each([
  ["GET", "/v1/nothing", undefined, 404],
  ["POST", "/v1/keys", { action: "steal", match: "*", dryRun: true }, 400],
  ["POST", "/v1/keys", { action: "accept", match: "*", dryRun: false, more: 1 }, 400],
  ["POST", "/v1/jobs", { ...ping("*"), fun: "os.system('x')" }, 400],
  ["POST", "/v1/jobs", ping(""), 400],
  ["GET", "/v1/jobs/..%2F..%2Fkeys", undefined, 400],
  ["GET", "/v1/jobs/20260101000000000000", undefined, 404],
  ["GET", "/v1/pillar/..%2F..%2Fetc", undefined, 400],
  ["GET", "/v1/pillar/typo", undefined, 404],
] as const)("the control API refuses %s %s %j with %d and an error", async (method, path, body, status) => {
  const one = await up();
  await expect(one.client.request(method, path, body)).rejects.toMatchObject({ httpStatus: status });
});

test("lesson: 2023-20897 garbage on the control socket takes nothing down", async () => {
  const one = await up();
  for (const bytes of [
    randomBytes(4096),
    Buffer.from("POST /v1/jobs HTTP/1.1\r\ncontent-length: 99\r\n\r\n{"),
    Buffer.alloc(0),
  ]) {
    const socket = connect(one.master.socket);
    socket.on("error", () => {});
    socket.end(bytes);
  }
  expect(await keysOf(one)).toEqual([]);
});

test("I5: neither the store nor anything else of the master holds the key after a lease", async () => {
  const one = await up();
  const minion = await enrol(one, "web1");
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  await one.stop();
  running = [];
  const all = Buffer.concat(
    readdirSync(join(directory, "state")).map((name) => readFileSync(join(directory, "state", name))),
  );
  expect([key, key.toString("hex"), key.toString("base64")].map((needle) => all.includes(needle))).toEqual([
    false,
    false,
    false,
  ]);
});
