import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { JobEvent, JobReport, MasterStatus } from "../../src/core/control-api.ts";
import type { Json } from "../../src/core/json.ts";
import { type Rig, rig, scratch } from "./master/rig.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");
const WAIT = { timeout: 60_000, interval: 25 };

let place: ReturnType<typeof scratch>;
let master: Rig;
let children: ChildProcess[] = [];
let log = "";

const at = (name: string) => join(place.directory, name);
const textOf = (name: string) => (existsSync(at(name)) ? readFileSync(at(name), "utf8") : "");
/** A shell command that waits for the file `go`. */
const untilGo = () => `until [ -e ${at("go")} ]; do sleep 0.05; done`;
const returnsKept = () => (existsSync(at("minion/returns")) ? readdirSync(at("minion/returns")) : []);

beforeEach(async () => {
  place = scratch();
  children = [];
  log = "";
  for (const name of ["states", "pillar"]) mkdirSync(at(name));
  master = await rig(place.directory, {}, { auto_accept: true });
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await master.stop();
  place.remove();
});

function startMinion(more: Readonly<Record<string, Json>> = {}): ChildProcess {
  const { return: returnPort } = master.master.ports;
  const config = {
    id: "web1",
    master: "127.0.0.1",
    master_port: returnPort,
    state_dir: at("minion"),
    run_dir: at("run"),
    ...more,
  };
  writeFileSync(at("minion.yaml"), JSON.stringify(config));
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", MAIN, "minion", "-c", at("minion.yaml")],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  children.push(child);
  return child;
}

async function kill(child: ChildProcess, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
  const { promise, resolve: ended } = Promise.withResolvers<void>();
  child.once("exit", () => ended());
  child.kill(signal);
  await promise;
}

const minionStatus = async () => (await master.client.request<MasterStatus>("GET", "/v1/status")).minions[0];
const connected = async () => {
  await expect.poll(async () => (await minionStatus())?.connected, WAIT).toBe(true);
};

/** Publishes a job; resolves with its jid when the master has begun, and with all events when it has ended. */
async function push(fun: string, args: readonly Json[] = []) {
  const begun = Promise.withResolvers<string>();
  const read = async (): Promise<readonly JobEvent[]> => {
    const events: JobEvent[] = [];
    const request = { target: { kind: "glob", expr: "web1" }, fun, args, kwargs: {}, timeoutMs: 60_000 };
    for await (const event of master.client.stream<JobEvent>("POST", "/v1/jobs", request)) {
      if (event.event === "start") begun.resolve(event.jid);
      events.push(event);
    }
    return events;
  };
  const ended = read().catch(() => []);
  return { jid: await begun.promise, ended };
}

const returned = (events: readonly JobEvent[]) => events.find((event) => event.event === "return");
const reportOf = async (jid: string) => (await master.client.request<JobReport>("GET", `/v1/jobs/${jid}`)).returns;

async function restartMaster(ports: { readonly return: number }): Promise<void> {
  master = await rig(place.directory, {}, { auto_accept: true, ret_port: ports.return });
}

test("a pushed job runs and returns", async () => {
  startMinion();
  await connected();
  expect(returned(await (await push("test.ping")).ended)).toMatchObject({ data: true, success: true });
  expect(returned(await (await push("cmd.run", ["echo hi; exit 3"])).ended)).toMatchObject({
    data: "hi",
    success: false,
    retcode: 3,
  });
  expect(returned(await (await push("test.pign")).ended)).toMatchObject({
    success: false,
    data: expect.stringContaining('did you mean "test.ping"') as Json,
  });
  await expect.poll(returnsKept, WAIT).toEqual([]);
});

test("I8: a return survives a master that is gone and a minion killed before it could send it", async () => {
  const first = startMinion();
  await connected();
  const { ports } = master.master;
  const { jid } = await push("cmd.run", [`touch ${at("begun")}; ${untilGo()}; echo made`]);
  await expect.poll(() => existsSync(at("begun")), WAIT).toBe(true);
  await master.stop();
  writeFileSync(at("go"), "");
  await expect.poll(() => log, WAIT).toContain("job done");
  expect(returnsKept()).toEqual([`${jid}.json`]);
  await kill(first);
  await restartMaster(ports);
  startMinion();
  await expect.poll(() => reportOf(jid), WAIT).toMatchObject([{ success: true, data: "made" }]);
  await expect.poll(returnsKept, WAIT).toEqual([]);
});

test("I7: a job that ran is not run again after kill -9 of the minion, and its return says what is known", async () => {
  const first = startMinion();
  await connected();
  const done = await push("cmd.run", [`echo x >> ${at("count")}`]);
  await done.ended;
  const { jid } = await push("cmd.run", [`echo y >> ${at("count")}; sleep 5`]);
  await expect.poll(() => textOf("count"), WAIT).toBe("x\ny\n");
  await kill(first);
  startMinion();
  await expect
    .poll(() => reportOf(jid), WAIT)
    .toMatchObject([{ success: false, data: expect.stringContaining("ended while this job ran") as Json }]);
  expect(returned(await (await push("test.ping")).ended)).toMatchObject({ data: true });
  expect(textOf("count")).toBe("x\ny\n");
});

test("two state runs queue, other functions do not wait for them", async () => {
  writeFileSync(
    at("states/slow.sls"),
    `slow:\n  cmd.run:\n    - name: "echo begin >> ${at("order")}; ${untilGo()}; echo end >> ${at("order")}"\n`,
  );
  startMinion();
  await connected();
  const one = await push("state.apply", ["slow"]);
  await expect.poll(() => textOf("order"), WAIT).toBe("begin\n");
  const two = await push("state.apply", ["slow"]);
  const ping = await push("test.ping");
  expect(returned(await ping.ended)).toMatchObject({ data: true });
  await expect.poll(() => log, WAIT).toMatch(/queued: state.apply \(job \d{20}\) as PID \d+ since .* is running/u);
  expect(textOf("order")).toBe("begin\n");
  writeFileSync(at("go"), "");
  for (const run of [one, two]) expect(returned(await run.ended)).toMatchObject({ success: true });
  expect(textOf("order")).toBe("begin\nend\nbegin\nend\n");
});

test("the master gone in the middle of a state run: the run goes on, its return comes later", async () => {
  writeFileSync(
    at("states/two.sls"),
    `a:\n  cmd.run:\n    - name: "touch ${at("begun")}; ${untilGo()}"\nb:\n  cmd.run:\n    - name: touch ${at("after")}\n`,
  );
  startMinion();
  await connected();
  const { ports } = master.master;
  const { jid } = await push("state.apply", ["two"]);
  await expect.poll(() => existsSync(at("begun")), WAIT).toBe(true);
  await master.stop();
  writeFileSync(at("go"), "");
  await expect.poll(() => existsSync(at("after")), WAIT).toBe(true);
  await restartMaster(ports);
  await expect.poll(() => reportOf(jid), WAIT).toMatchObject([{ success: true }]);
});

test("startup states run until they succeed, then never again in this boot", async () => {
  writeFileSync(at("states/top.sls"), "base:\n  '*':\n    - boot\n");
  const name = `echo x >> ${at("count")}; test -e ${at("disk")}`;
  writeFileSync(at("states/boot.sls"), `boot:\n  cmd.run:\n    - name: "${name}"\n`);
  const startup = { startup_states: "highstate", startup_retry_min: 0.2, startup_retry_max: 0.3 };
  const first = startMinion(startup);
  await expect.poll(() => textOf("count"), WAIT).toMatch(/^x\nx\n/u);
  expect(existsSync(at("run/volumes-ready"))).toBe(false);
  writeFileSync(at("disk"), "");
  await expect.poll(() => existsSync(at("run/volumes-ready")), WAIT).toBe(true);
  await expect.poll(minionStatus, WAIT).toMatchObject({ lastHighstate: { success: true, startup: true } });
  const count = textOf("count");
  const moments = () => {
    const { moments: all } = JSON.parse(textOf("run/timeline.json")) as {
      readonly moments: readonly { readonly what: string }[];
    };
    return all.map(({ what }) => what);
  };
  await expect
    .poll(moments, WAIT)
    .toEqual(
      expect.arrayContaining(["kernel started", "connected to the master", "pillar in hand", "startup states done"]),
    );
  await kill(first, "SIGTERM");
  startMinion(startup);
  await expect.poll(() => log, WAIT).toContain("startup states ran already in this boot");
  expect(textOf("count")).toBe(count);
});

test("I9: a minion without startup states reaches no volumes target by itself", async () => {
  startMinion();
  await connected();
  await expect.poll(() => log, WAIT).toContain("no startup states are configured");
  expect(returned(await (await push("test.ping")).ended)).toMatchObject({ data: true });
  expect(existsSync(at("run/volumes-ready"))).toBe(false);
});

test("a minion that is not accepted says in plain words what it waits for", async () => {
  await master.stop();
  master = await rig(place.directory, {}, { auto_accept: false });
  startMinion();
  await expect
    .poll(() => log, WAIT)
    .toMatch(
      /waiting for the master at 127\.0\.0\.1:\d+ to accept this key: fingerprint SHA256:\S+; on the master run: latchkey keys accept web1/u,
    );
  await master.accept("web1");
  await connected();
});

test("lesson: 2020-17490 what the minion keeps is for root alone", async () => {
  startMinion();
  await connected();
  for (const name of ["minion", "minion/minion.key", "minion/master.pub", "minion/returns", "minion/job-position"]) {
    expect([name, statSync(at(name)).mode & 0o077]).toEqual([name, 0]);
  }
});
