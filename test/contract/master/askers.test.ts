import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import type { JobEvent, JobRequest } from "../../../src/core/control-api.ts";
import { argumentsDigest, type JobStatement } from "../../../src/core/operator-statement.ts";
import { startMinion, type TestMinion, until } from "../wire/pair.ts";
import { addOperator, approve, heldNow, REFUSED, sign, statementOf } from "./approving.ts";
import { usePlace } from "./place.ts";
import { leaseKey, portsOf, type Rig, tinyPillar } from "./rig.ts";

const key = randomBytes(32);
const place = usePlace();

async function start(
  rules: readonly object[] | undefined = [{ name: "ask", require: { approvals: { count: 1 } } }],
  more: object = {},
) {
  const policyPath = join(place.directory, "release.yaml");
  if (rules) writeFileSync(policyPath, JSON.stringify({ rules, ...more }));
  const config = { release_policy: policyPath };
  const one = await place.start({ openPillar: async () => tinyPillar(key) }, config);
  return one;
}

/** A host in its boot `b`. */
async function connect(one: Rig, identity?: TestMinion["identity"]): Promise<TestMinion> {
  const minion = startMinion(portsOf(one), {
    id: "web1",
    fingerprints: [one.master.fingerprint],
    ...(identity && { identity }),
  });
  const { connection } = minion;
  place.atEnd(async () => connection.close());
  await connection.ready(AbortSignal.timeout(60_000));
  return minion;
}

const REQUEST: JobRequest = {
  target: { kind: "glob", expr: "web*" },
  fun: "state.highstate",
  args: [],
  kwargs: { test: false },
  timeoutMs: 60_000,
};

function jobStatement(one: Rig, operator: string, more: Partial<JobStatement> = {}): JobStatement {
  const { target, fun, args, kwargs } = REQUEST;
  return {
    what: "job",
    master: one.master.fingerprint,
    targetKind: target.kind,
    target: target.expr,
    fun,
    args: argumentsDigest(args, kwargs),
    operator,
    expires: Date.now() + 60_000,
    nonce: randomBytes(16).toString("hex"),
    ...more,
  };
}

/** Pushes a job, and resolves with its jid when the host has it. */
async function push(one: Rig, minion: TestMinion, request: JobRequest): Promise<string> {
  const before = minion.jobs.length;
  const events = one.client.stream<JobEvent>("POST", "/v1/jobs", request);
  place.atEnd(async () => events.return?.(undefined));
  const { value } = await events.next();
  expect(value).toMatchObject({ event: "start", targets: ["web1"], offline: [] });
  await until("the job is at the host", () => minion.jobs.length > before);
  return minion.jobs.at(-1)?.jid ?? "";
}

const finish = async ({ connection }: TestMinion, jid: string, fun = REQUEST.fun) => {
  const times = { startedAt: 1, finishedAt: 2, startup: false };
  await connection.request("return", { jid, fun, success: true, retcode: 0, data: [], ...times });
};

test("lesson: OpenBao #3814, #3815 who pushed the run cannot approve what its hosts ask for", async () => {
  const one = await start();
  const [ann, bob] = [await addOperator(one, "ann"), await addOperator(one, "bob")];
  const minion = await connect(one);
  const jid = await push(one, minion, { ...REQUEST, pushed: sign(jobStatement(one, "ann"), ann) });
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(one);
  expect(hold.askers).toEqual(["ann"]);
  await expect(approve(one, sign(statementOf(one, hold, "ann"), ann))).rejects.toMatchObject({
    ...REFUSED,
    message: expect.stringContaining("who asked cannot approve"),
  });
  // neither when the job is over: what was asked for is what was asked for
  await finish(minion, jid);
  await expect(approve(one, sign(statementOf(one, hold, "ann"), ann))).rejects.toMatchObject(REFUSED);
  await approve(one, sign(statementOf(one, hold, "bob"), bob));
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  const records: AuditRecord[] = [];
  for await (const record of one.client.stream<AuditRecord>("GET", "/v1/audit?kind=job-pushed")) records.push(record);
  expect(records).toMatchObject([{ actor: "ann", subject: "web1", data: { jid, fun: "state.highstate" } }]);
});

test("an approval by who pushes a job before it is used does not count", async () => {
  const one = await start([{ name: "ask", require: { approvals: { count: 2 } } }]);
  const keys = { ann: await addOperator(one, "ann"), bob: await addOperator(one, "bob") };
  const minion = await connect(one);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(one);
  for (const name of ["ann", "bob"] as const) await approve(one, sign(statementOf(one, hold, name), keys[name]));
  await push(one, minion, { ...REQUEST, pushed: sign(jobStatement(one, "bob"), keys.bob) });
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  expect((await heldNow(one)).approvals).toMatchObject([{ operator: "ann" }]);
});

test("lesson: 2022-22936, 2024-38823 a signed push is good once, for this job, at this master, in its time", async () => {
  const one = await start();
  const [ann, eve] = [await addOperator(one, "ann"), await addOperator(one, "eve")];
  const minion = await connect(one);
  const wrong: Partial<JobStatement>[] = [
    { expires: Date.now() - 1 },
    { expires: Date.now() + 86_400_000 },
    { master: "SHA256:other" },
    { target: "*" },
    { targetKind: "list" },
    { fun: "cmd.run" },
    { args: argumentsDigest([], {}) },
    { operator: "eve" },
    { operator: "dan" },
    { operator: "root" },
  ];
  const refused = async (pushed: NonNullable<JobRequest["pushed"]>) => {
    const events = one.client.stream<JobEvent>("POST", "/v1/jobs", { ...REQUEST, pushed });
    await expect(events.next()).rejects.toMatchObject(REFUSED);
  };
  for (const more of wrong) await refused(sign(jobStatement(one, "ann", more), ann));
  await refused(sign(jobStatement(one, "ann"), eve));
  const good = sign(jobStatement(one, "ann"), ann);
  for (const more of wrong) await refused({ ...good, statement: { ...good.statement, ...more } });
  expect(minion.jobs).toEqual([]);
  await push(one, minion, { ...REQUEST, pushed: good });
  await refused(good);

  // the master remembers across its own restart who asked, and what was used
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  await minion.connection.close();
  await one.stop();
  const again = await start();
  const events = again.client.stream<JobEvent>("POST", "/v1/jobs", { ...REQUEST, pushed: good });
  await expect(events.next()).rejects.toMatchObject(REFUSED);
  const back = await connect(again, minion.identity);
  await leaseKey(back, "disk:password");
  expect((await heldNow(again)).askers).toEqual(["ann"]);
});

test("the boot that a job led to was asked for by who pushed it, the boot after that was not", async () => {
  const one = await start();
  const ann = await addOperator(one, "ann");
  const minion = await connect(one);
  const request = { ...REQUEST, fun: "system.reboot", kwargs: {} };
  const statement = jobStatement(one, "ann", { fun: request.fun, args: argumentsDigest([], {}) });
  const jid = await push(one, minion, { ...request, pushed: sign(statement, ann) });
  await finish(minion, jid, request.fun);
  expect(await leaseKey(minion, "disk:password", "open", "b")).toBe("hold");
  expect((await heldNow(one)).askers).toEqual([]);
  for (let n = 0; n < 2; n += 1) expect(await leaseKey(minion, "disk:password", "open", "b2")).toBe("hold");
  expect(await heldNow(one)).toMatchObject({ bootId: "b2", askers: ["ann"] });
  expect(await leaseKey(minion, "disk:password", "open", "b3")).toBe("hold");
  expect(await heldNow(one)).toMatchObject({ bootId: "b3", askers: [] });
});

test("an unsigned push is root's, once operators are registered and rules want approvals", async () => {
  const one = await start();
  const minion = await connect(one);
  await push(one, minion, REQUEST);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  // alone, root may approve what root asked for: there is nobody else
  expect((await heldNow(one)).askers).toEqual([]);
  const ann = await addOperator(one, "ann");
  await push(one, minion, REQUEST);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(one);
  expect(hold.askers).toEqual(["root"]);
  await approve(one, sign(statementOf(one, hold, "ann"), ann));
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
});

test("a push that only looks asks for nothing", async () => {
  const one = await start();
  const ann = await addOperator(one, "ann");
  const minion = await connect(one);
  const request = { ...REQUEST, fun: "test.ping", kwargs: {} };
  const statement = jobStatement(one, "ann", { fun: request.fun, args: argumentsDigest([], {}) });
  await push(one, minion, { ...request, pushed: sign(statement, ann) });
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  expect((await heldNow(one)).askers).toEqual([]);
});

test("where the policy wants pushes signed, nobody pushes as root what they approve under their own name", async () => {
  const one = await start(undefined, { signed_pushes: true });
  const minion = await connect(one);
  const pushing = async (request: JobRequest) => {
    for await (const event of one.client.stream<JobEvent>("POST", "/v1/jobs", request)) return event;
    return undefined;
  };
  const refused = { code: "unsigned-push", hint: expect.stringContaining("--operator") as string };
  await expect(pushing(REQUEST)).rejects.toMatchObject(refused);
  const ann = await addOperator(one, "ann");
  for (const fun of ["state.highstate", "cmd.run", "volume.rotate", "volume.statuses", "system.reboot"]) {
    await expect(pushing({ ...REQUEST, fun })).rejects.toMatchObject(refused);
  }
  const campaign = {
    target: REQUEST.target,
    volumes: [],
    keepOld: false,
    batch: "5",
    maxFailures: 1,
    deadlineMs: 60_000,
  };
  await expect(one.client.request("POST", "/v1/campaigns", campaign)).rejects.toMatchObject(refused);
  expect(minion.jobs).toHaveLength(0);
  for (const fun of ["test.ping", "volume.status", "volume.devs", "volume.plan", "leakcheck.run"]) {
    await push(one, minion, { ...REQUEST, fun, kwargs: {} });
  }
  await push(one, minion, { ...REQUEST, pushed: sign(jobStatement(one, "ann"), ann) });
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
  const hold = await heldNow(one);
  expect(hold.askers).toEqual(["ann"]);
  await expect(approve(one, sign(statementOf(one, hold, "ann"), ann))).rejects.toMatchObject(REFUSED);
});
