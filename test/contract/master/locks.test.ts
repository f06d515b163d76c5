import { mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import type { JobEvent, JobRequest } from "../../../src/core/control-api.ts";
import { argumentsDigest, type JobStatement } from "../../../src/core/operator-statement.ts";
import type { HoldList } from "../../../src/core/release-api.ts";
import { startMinion, type TestMinion, until } from "../wire/pair.ts";
import { addOperator, sign } from "./approving.ts";
import { leaseKey, portsOf, type Rig, rig, scratch } from "./rig.ts";

const DATA = "volumes:data:luks:key";
const LOGS = "volumes:logs:luks:key";
const PILLAR = `volumes:
  data: { disk: /dev/vdb, luks: { key: !generate } }
  logs: { disk: /dev/vdc, luks: { key: !generate } }
`;
let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), PILLAR);
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

async function start(): Promise<Rig> {
  const one = await rig(directory, {}, { auto_accept: true });
  ending.push(async () => one.stop());
  return one;
}
async function connect(one: Rig, identity?: TestMinion["identity"]): Promise<TestMinion> {
  const options = { id: "web1", fingerprints: [one.master.fingerprint], ...(identity && { identity }) };
  const minion = startMinion(portsOf(one), options);
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  return minion;
}
const request = (fun: string, args: readonly Json[] = [], kwargs: JsonObject = {}): JobRequest => ({
  target: { kind: "glob", expr: "web*" },
  fun,
  args: [...args],
  kwargs,
  timeoutMs: 60_000,
});
/** Pushes the job; resolves when it was published. */
async function push(one: Rig, job: JobRequest): Promise<void> {
  const events = one.client.stream<JobEvent>("POST", "/v1/jobs", job);
  ending.push(async () => events.return?.(undefined));
  await events.next();
}
const locks = async ({ client }: Rig) => (await client.request<HoldList>("GET", "/v1/holds")).locks;
async function recorded({ client }: Rig, kind: string) {
  const records: unknown[] = [];
  for await (const { actor, subject, data } of client.stream<AuditRecord>("GET", `/v1/audit?kind=${kind}&limit=50`))
    records.push({ actor, subject, data });
  return records;
}

test("a lock is in force before the host has the job: its leases wait, those of its other volumes do not", async () => {
  const one = await start();
  const minion = await connect(one);
  const key = await leaseKey(minion, DATA, "format");
  await push(one, request("volume.lock", ["data"]));
  await until("the host has the job", () => minion.jobs.length > 0);
  expect(await leaseKey(minion, DATA)).toBe("hold");
  expect(await leaseKey(minion, DATA, "format")).toBe("hold");
  expect(await leaseKey(minion, LOGS, "format")).toBeInstanceOf(Buffer);
  expect(await locks(one)).toMatchObject([{ id: "web1", path: DATA, volume: "data", by: "root" }]);
  const data = { secrets: [DATA], user: userInfo().username };
  expect(await recorded(one, "volume-locked")).toEqual([{ actor: "root", subject: "web1", data }]);
  await push(one, request("volume.unlock", ["data"]));
  expect(await leaseKey(minion, DATA)).toEqual(key);
  expect(await locks(one)).toEqual([]);
  expect(await recorded(one, "volume-unlocked")).toHaveLength(1);
});

test("a lock of a whole host holds every secret of it, for a host that is offline too, and survives the master", async () => {
  const one = await start();
  const minion = await connect(one);
  await leaseKey(minion, DATA, "format");
  await minion.connection.close();
  await push(one, request("volume.lock"));
  await one.stop();
  const again = await start();
  const back = await connect(again, minion.identity);
  expect(await leaseKey(back, DATA)).toBe("hold");
  expect(await leaseKey(back, LOGS, "format")).toBe("hold");
  // unlocking one volume of a host that is locked as a whole lifts nothing
  await push(again, request("volume.unlock", ["data"]));
  expect(await leaseKey(back, DATA)).toBe("hold");
  await push(again, request("volume.unlock"));
  expect(await leaseKey(back, DATA)).toBeInstanceOf(Buffer);
});

test.each<[readonly Json[], JsonObject]>([
  [[], { names: "data" }],
  [[], { name: ["data"] }],
  [[], { names: [7] }],
  [[{ names: ["data"] }], {}],
])("what may have been meant as a name is not taken for everything: %j %j changes nothing", async (args, kwargs) => {
  const one = await start();
  await connect(one);
  await expect(push(one, request("volume.lock", args, kwargs))).rejects.toMatchObject({ code: "bad-arguments" });
  expect(await locks(one)).toEqual([]);
  await push(one, request("volume.lock"));
  await expect(push(one, request("volume.unlock", args, kwargs))).rejects.toMatchObject({ code: "bad-arguments" });
  expect(await locks(one)).toMatchObject([{ id: "web1", path: null }]);
  await push(one, request("volume.unlock", [], { names: [] }));
  expect(await locks(one)).toEqual([]);
});

test("nobody can approve what a lock holds", async () => {
  const one = await start();
  const minion = await connect(one);
  await leaseKey(minion, DATA, "format");
  await push(one, request("volume.lock"));
  expect(await leaseKey(minion, DATA)).toBe("hold");
  expect((await one.client.request<HoldList>("GET", "/v1/holds")).holds).toEqual([]);
});

test("a volume that no host has locks nothing, and a broken pillar keeps nobody from locking the host", async () => {
  const one = await start();
  const minion = await connect(one);
  await expect(push(one, request("volume.lock", ["nope"]))).rejects.toMatchObject({ code: "no-volume" });
  expect(await locks(one)).toEqual([]);
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), "volumes: [\n");
  await push(one, request("volume.lock"));
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), PILLAR);
  expect(await leaseKey(minion, DATA, "format")).toBe("hold");
});

test("the operator who signed the job is the one who locked; a statement does not lock twice", async () => {
  const one = await start();
  const minion = await connect(one);
  const ann = await addOperator(one, "ann");
  const job = request("volume.lock", ["data"]);
  const statement: JobStatement = {
    what: "job",
    master: one.master.fingerprint,
    targetKind: "glob",
    target: "web*",
    fun: job.fun,
    args: argumentsDigest(job.args, job.kwargs),
    operator: "ann",
    expires: Date.now() + 60_000,
    nonce: "ab".repeat(16),
  };
  const signed = { ...job, pushed: sign(statement, ann) };
  await push(one, signed);
  expect(await locks(one)).toMatchObject([{ by: "ann" }]);
  await push(one, request("volume.unlock", ["data"]));
  await expect(push(one, signed)).rejects.toMatchObject({ code: "bad-approval" });
  expect(await locks(one)).toEqual([]);
  expect(await leaseKey(minion, DATA, "format")).toBeInstanceOf(Buffer);
});
