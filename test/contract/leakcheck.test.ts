import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { JobEvent, LeaseList, MasterStatus } from "../../src/core/control-api.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { LeakcheckReport } from "../../src/minion/leakcheck/leakcheck.ts";
import { PLACES } from "../../src/minion/leakcheck/place-names.ts";
import { type Rig, rig, scratch } from "./master/rig.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");
const WAIT = { timeout: 60_000, interval: 25 };

let place: ReturnType<typeof scratch>;
let master: Rig;
let minion: ChildProcess;
const at = (name: string) => join(place.directory, name);

beforeAll(async () => {
  place = scratch();
  for (const name of ["states", "pillar"]) mkdirSync(at(name));
  master = await rig(place.directory, {}, { auto_accept: true });
  const { return: returnPort } = master.master.ports;
  const config = {
    id: "web1",
    master: "127.0.0.1",
    master_port: returnPort,
    state_dir: at("minion"),
    run_dir: at("run"),
  };
  writeFileSync(at("minion.yaml"), JSON.stringify(config));
  const log = openSync(at("minion.log"), "a");
  minion = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, "minion", "-c", at("minion.yaml")], {
    stdio: ["ignore", "ignore", log],
  });
  closeSync(log);
  const status = async () => (await master.client.request<MasterStatus>("GET", "/v1/status")).minions[0];
  await vi.waitUntil(async () => (await status())?.connected, WAIT);
});

afterAll(async () => {
  const { promise, resolve: ended } = Promise.withResolvers<void>();
  minion.once("exit", () => ended());
  minion.kill("SIGTERM");
  await promise;
  await master.stop();
  place.remove();
});

async function run(fun: string, kwargs: JsonObject) {
  const request = { target: { kind: "glob", expr: "web1" }, fun, args: [], kwargs, timeoutMs: 170_000 };
  for await (const event of master.client.stream<JobEvent>("POST", "/v1/jobs", request)) {
    if (event.event === "return") return event;
  }
  throw new Error("no return");
}

async function check(kwargs: JsonObject) {
  const { data, success } = await run("leakcheck.run", { max_mib: 256, time: 150, ...kwargs });
  return { report: data as unknown as LeakcheckReport, success };
}

const dirty = ({ places }: LeakcheckReport) => places.filter(({ hits }) => hits.length > 0).map((found) => found.place);

test("I5: a canary on the way of a key leaves nothing anywhere, and every place was searched", async () => {
  const { report, success } = await check({});
  expect(report.places.flatMap(({ hits }) => hits)).toEqual([]);
  expect(success).toBe(true);
  expect(report.clean).toBe(true);
  expect(report.places.map((found) => found.place)).toEqual([...PLACES]);
  const searched = new Map(report.places.map((found) => [found.place, found.bytes]));
  expect(searched.get("memory")).toBeGreaterThan(20 << 20);
  expect(searched.get("processes")).toBeGreaterThan(1000);
  for (const name of ["state", "own-log"]) expect(searched.get(name)).toBeGreaterThan(0);
}, 180_000);

/** Why a place cannot be planted in by this user. */
const ROOTS_OWN: Partial<Record<(typeof PLACES)[number], string>> =
  process.getuid?.() === 0 ? {} : { logs: "only root can plant in /var/log" };

test.for(PLACES)(
  "I5: a canary leaked in %s is found there, and nowhere else",
  { timeout: 180_000 },
  async (planted, { skip }) => {
    skip(ROOTS_OWN[planted] !== undefined, ROOTS_OWN[planted]);
    const { report, success } = await check({ plant: [planted] });
    expect(dirty(report)).toEqual([planted]);
    expect({ success, clean: report.clean }).toEqual({ success: false, clean: false });
  },
);

test("a canary leaked in a process stands in its arguments and its environment, and the process lives on", async () => {
  const { report } = await check({ plant: ["processes"] });
  const hits = report.places.flatMap((place) =>
    place.hits.map(({ where }) => `${place.place}: ${where.replace(/\d+/u, "PID")}`),
  );
  expect(hits).toEqual(["processes: /proc/PID/cmdline", "processes: /proc/PID/environ"]);
}, 180_000);

test("I4: the lease of a canary is recorded as one, with its receipt", async () => {
  const leases = async () => (await master.client.request<LeaseList>("GET", "/v1/leases?limit=1")).leases[0];
  await expect.poll(leases, WAIT).toMatchObject({
    path: "leakcheck:canary",
    device: "leakcheck",
    verdict: "allow",
    reasons: [{ code: "canary" }],
    receipt: { wiped: true },
  });
});

test("hygiene.status tells what the kernel says of the minion itself", async () => {
  const { data } = await run("hygiene.status", {});
  expect(data).toMatchObject({ coreFilter: "0", traced: false });
  const filter = readFileSync(`/proc/${minion.pid ?? 0}/coredump_filter`, "utf8").trim();
  expect(Number.parseInt(filter, 16)).toBe(0);
});
