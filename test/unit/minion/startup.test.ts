import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { ConfigError, HostError, TransportError } from "../../../src/core/errors.ts";
import type { Host } from "../../../src/core/host.ts";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import { Courier } from "../../../src/minion/courier.ts";
import type { FunctionResult } from "../../../src/minion/functions/function.ts";
import { execute } from "../../../src/minion/execute.ts";
import { createJobContext } from "../../../src/minion/job-context.ts";
import { Jobs } from "../../../src/minion/jobs.ts";
import { createLink } from "../../../src/minion/link.ts";
import type { Machine } from "../../../src/minion/machine.ts";
import { openSpool } from "../../../src/minion/spool.ts";
import { runStartup } from "../../../src/minion/startup.ts";
import { TimelineRecorder } from "../../../src/minion/timeline.ts";
import { hasMounted } from "../../../src/minion/volume/settle-target.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
import { luks2Bytes } from "../../fakes/luks2-bytes.ts";
import { addDisk, setMounts } from "../../fakes/mounted-disk.ts";
import { fakeMachine, plainHost } from "./machine.ts";

const READY = "/run/latchkey/volumes-ready";
const START = ["systemctl", "start", "--no-block", "latchkey-volumes.target"] as const;
const STOP = ["systemctl", "stop", "--quiet", "--", "latchkey-volumes.target"] as const;
const volumes: JsonObject = { data: { disk: "/dev/vdb", fs: { type: "ext4" }, mount: { point: "/srv/data" } } };
const MOUNTED = [["254:16", "/dev/vdb", "/srv/data"]] as const;

let directory: string;
let host: FakeHost;
let stop: AbortController;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-startup-"));
  host = addDisk(new FakeHost(), "/dev/vdb", "254:16").directory("/run/systemd/system").directory("/journal");
  host
    .on(START)
    .on(STOP)
    .on(["umount", "--", "/srv/data"], () => {
      setMounts(host, []);
      return {};
    });
  setMounts(host, []);
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(directory, { recursive: true, force: true });
});

const asked = () => host.runs.flatMap(({ argv }) => (argv[0] === "systemctl" ? [argv[1]] : []));

class Paused extends Error {}

/** One start of a minion: resolves when there is nothing more to do at the start, or a second would pass before it is. */
async function start(machine: Machine, ended = () => {}): Promise<void> {
  const connection = new FakeConnection({ "job.progress": () => ({}), return: () => ({}) });
  const link = createLink(connection, systemClock, machine.random);
  const spool = await openSpool(join(directory, "returns"));
  const courier = new Courier(spool, link, systemClock, machine.log, stop.signal);
  const jobs = new Jobs(machine, link, spool, courier, stop.signal);
  const sleep: Machine["clock"]["sleep"] = async (ms, signal) => {
    if (ms >= 1000 && signal?.aborted !== true) throw new Paused();
    return systemClock.sleep(ms, signal);
  };
  await runStartup({
    machine: { ...machine, clock: { ...systemClock, sleep } },
    jobs,
    connection,
    bootId: "this boot",
    timeline: new TimelineRecorder(),
    random: () => 0,
    signal: stop.signal,
    ended,
  }).catch((thrown: unknown) => {
    if (!(thrown instanceof Paused)) throw thrown;
  });
}

/** One job of that minion. */
async function returnOf(machine: Machine, fun: string, ...args: readonly Json[]): Promise<FunctionResult> {
  const options = { jid: "20261122160000000001", fun, signal: stop.signal, waitMs: 0, progress: () => {} };
  return execute({ fun, args, kwargs: {} }, createJobContext(machine, options).context);
}

async function run(machine: Machine, fun: string, ...args: readonly Json[]): Promise<number> {
  return (await returnOf(machine, fun, ...args)).retcode;
}

const machineWith = (settings: JsonObject, pillar: JsonObject = {}, on: Host = host) =>
  fakeMachine(directory, on, { settings, pillar });

test.each([
  ["that declares a volume", { volumes }],
  ["of which nothing is known", {}],
])("I9: with no startup states the target is not reached on a host %s", async (_what, pillar) => {
  await start(machineWith({ startup_states: "" }, pillar));
  expect(await host.stat(READY)).toBeUndefined();
  expect(asked()).toEqual([]);
});

test.each([
  ["matches nothing", "base:\n  wbe1:\n    - up\n", 'no target of top.sls that gives an SLS matches "web1"'],
  [
    "gives an empty SLS",
    "base:\n  web1:\n    - empty\n",
    'no state is declared in "empty", which top.sls gives "web1"',
  ],
])("I9: a highstate whose top file %s fails, and never reaches the target", async (_what, top, reason) => {
  writeFileSync(join(directory, "top.sls"), top);
  writeFileSync(join(directory, "up.sls"), "up:\n  test.nop: []\n");
  writeFileSync(join(directory, "empty.sls"), "\n");
  const machine = machineWith({ startup_states: "highstate" }, { volumes });
  const comment = `No states found for this minion: ${reason}`;
  expect(await returnOf(machine, "state.highstate")).toMatchObject({
    data: { "no_|-states_|-states_|-None": { result: false, comment } },
    retcode: 2,
  });
  await expect(start(machine, () => stop.abort())).rejects.toThrow("aborted");
  expect(await host.stat(READY)).toBeUndefined();
  expect(asked()).toEqual([]);
});

test("I9: with no startup states it is reached when the declared volumes are proven to be mounted", async () => {
  const machine = machineWith({ startup_states: "" }, { volumes });
  await start(machine);
  setMounts(host, MOUNTED);
  await start(machine);
  expect(await host.stat(READY)).toBeDefined();
  expect(asked()).toEqual(["start"]);
});

test("with no startup states declared volumes are looked at until somebody has mounted them", async () => {
  const machine = machineWith({ startup_states: "", startup_retry_min: 0.001 }, { volumes });
  let looks = 0;
  const pillar: Machine["backing"]["pillar"] = async (patience) => {
    looks += 1;
    if (looks === 3) setMounts(host, MOUNTED);
    return machine.backing.pillar(patience);
  };
  await start({ ...machine, backing: { ...machine.backing, pillar } });
  expect(looks).toBe(3);
  expect(asked()).toEqual(["start"]);
});

test.each([
  ["a broken pillar", new ConfigError("pillar-broken", "bad yaml (app.sls line 2)")],
  ["a master that is away", new TransportError("no-answer", "cannot reach the master")],
  ["a disk that is full", new HostError("file-failed", "no space left on device")],
])("I9: with no startup states %s is asked again, and the target reached when it is mended", async (_what, error) => {
  const machine = machineWith({ startup_states: "", startup_retry_min: 0.001 }, { volumes });
  setMounts(host, MOUNTED);
  let broken = 2;
  const pillar: Machine["backing"]["pillar"] = async (patience) => {
    broken -= 1;
    if (broken >= 0) throw error;
    return machine.backing.pillar(patience);
  };
  await start({ ...machine, backing: { ...machine.backing, pillar } });
  expect(broken).toBe(-1);
  expect(await host.stat(READY)).toBeDefined();
});

test("I9: a volume that was stopped stays so: the target with it, also when the minion begins anew", async () => {
  writeFileSync(join(directory, "up.sls"), "up:\n  test.nop: []\n");
  const machine = machineWith({ startup_states: "sls", sls_list: ["up"] }, { volumes });
  setMounts(host, MOUNTED);
  await start(machine);
  expect(asked()).toEqual(["start"]);
  await start(machine);
  // what was stopped in a target that is up is not for a restart of the minion to start
  expect(asked()).toEqual(["start"]);
  expect(await run(machine, "volume.stop", "data")).toBe(0);
  expect(asked()).toEqual(["start", "stop"]);
  expect(host.runs.findIndex(({ argv }) => argv[1] === "stop")).toBeLessThan(
    host.runs.findIndex(({ argv }) => argv[0] === "umount"),
  );
  expect(await host.stat(READY)).toBeUndefined();
  await start(machine);
  expect(await host.stat(READY)).toBeUndefined();
  expect(asked()).toEqual(["start", "stop"]);
  setMounts(host, MOUNTED);
  expect(await run(machine, "volume.start", "data")).toBe(0);
  expect(await host.stat(READY)).toBeDefined();
  expect(asked()).toEqual(["start", "stop", "start"]);
});

const ARCHIVED: JsonObject = { disk: "/dev/vdc", fs: { type: "ext4" }, mount: { point: "/srv/archive" } };
const both: JsonObject = {
  ...volumes,
  archive: ARCHIVED,
};
const ARCHIVE = ["254:32", "/dev/vdc", "/srv/archive"] as const;

function withArchive(): void {
  addDisk(host, "/dev/vdc", "254:32").on(["umount", "--", "/srv/archive"], () => {
    setMounts(host, MOUNTED);
    return {};
  });
  setMounts(host, [...MOUNTED, ARCHIVE]);
  const data = "/srv/data:\n  mount.mounted:\n    - device: /dev/vdb\n    - fstype: ext4\n";
  writeFileSync(join(directory, "up.sls"), `${data}archive:\n  volume.stopped: []\n`);
}

test("I9: a startup run that takes a volume down as its states want it reaches the target all the same", async () => {
  withArchive();
  await start(machineWith({ startup_states: "sls", sls_list: ["up"] }, { volumes: both }));
  expect(host.runs.map(({ argv }) => argv[0])).toContain("umount");
  expect(asked()).toEqual(["start"]);
  expect(await host.stat(READY)).toBeDefined();
});

test("I9: the same states in a later run: the target is left for the unmount, and reached again", async () => {
  withArchive();
  const machine = machineWith({ startup_states: "" }, { volumes: both });
  await start(machine);
  expect(asked()).toEqual(["start"]);
  expect(await run(machine, "state.sls", "up")).toBe(0);
  expect(asked()).toEqual(["start", "stop", "start"]);
  expect(await host.stat(READY)).toBeDefined();
  // by hand it is somebody's wish, and no state's
  setMounts(host, [...MOUNTED, ARCHIVE]);
  expect(await run(machine, "volume.stop", "archive")).toBe(0);
  expect(await host.stat(READY)).toBeUndefined();
});

test.each(["unprovisioned", "erased"])(
  "I9: a volume that is %s does not keep the others from their target",
  async (how) => {
    const machine = machineWith(
      { startup_states: "" },
      { volumes: { ...both, archive: { ...ARCHIVED, luks: { key: "secret:k" } } } },
    );
    setMounts(host, MOUNTED);
    const uuid = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
    const keyslots = how === "erased" ? {} : { 0: {} };
    host
      .file("/dev/vdc", luks2Bytes(uuid, { keyslots }), { kind: "block", rdev: "254:32" })
      .directory("/sys/class/block");
    await machine.journal.begin("volume-removed:archive", true);
    // of one that is there still, or again, nothing is taken for granted
    await machine.journal.begin("volume-identity:archive", { luksUuid: uuid, fsUuid: "", bases: [] });
    if (how === "unprovisioned") await start(machine);
    expect(await host.stat(READY)).toBeUndefined();
    if (how === "unprovisioned") await machine.journal.commit("volume-identity:archive");
    await start(machine);
    expect(asked()).toEqual(["start"]);
  },
);

test("a volume comes up also when nothing can be written to the minion's disk", async () => {
  const full: Host = {
    ...plainHost(host),
    writeFile: async (path, ...rest) => {
      if (!path.startsWith("/run/"))
        throw new HostError("file-failed", `cannot write "${path}": no space left on device`);
      return host.writeFile(path, ...rest);
    },
  };
  host.on(["mount", "-t", "ext4", "-o", "defaults", "--", "/dev/vdb", "/srv/data"], () => {
    setMounts(host, MOUNTED);
    return {};
  });
  const machine = machineWith({ startup_states: "" }, { volumes }, full);
  expect(await run(machine, "volume.start", "data")).toBe(0);
  expect(await host.stat(READY)).toBeDefined();
});

test("a mount that replays its journal, and an unmount that writes back, are given an hour", async () => {
  const limits: (number | undefined)[] = [];
  host.on(["mount", "-t", "ext4", "-o", "defaults", "--", "/dev/vdb", "/srv/data"], (_stdin, { timeoutMs }) => {
    limits.push(timeoutMs);
    setMounts(host, MOUNTED);
    return {};
  });
  host.on(["umount", "--", "/srv/data"], (_stdin, { timeoutMs }) => {
    limits.push(timeoutMs);
    setMounts(host, []);
    return {};
  });
  const machine = machineWith({ startup_states: "" }, { volumes });
  expect(await run(machine, "volume.restart", "data")).toBe(0);
  expect(await run(machine, "volume.stop", "data")).toBe(0);
  expect(limits).toEqual([3_600_000, 3_600_000]);
});

test("I9: a volume that could not be stopped is up as before, and so is the target", async () => {
  const machine = machineWith({ startup_states: "" }, { volumes });
  setMounts(host, MOUNTED);
  await start(machine);
  host.on(["umount", "--", "/srv/data"], { exitCode: 1, stderr: "umount: what now" });
  expect(await run(machine, "volume.stop", "data")).toBe(1);
  expect(asked()).toEqual(["start", "stop", "start"]);
  expect(await host.stat(READY)).toBeDefined();
});

test.each<[boolean, string, Json]>([
  [true, "mount_|-data_|-/srv/data_|-mounted", { result: true }],
  [true, "volume_|-data_|-data_|-running", { result: true }],
  [false, "mount_|-data_|-/srv/data_|-mounted", { result: false }],
  [false, "mount_|-data_|-/srv/data_|-unmounted", { result: true }],
  [false, "test_|-data_|-mounted_|-nop", { result: true }],
])("%s: something was mounted by %s with %j", (expected, name, row) => {
  expect(hasMounted({ [name]: row })).toBe(expected);
});

test.each([
  ["startup.json", "startup states are done all the same", 1],
  ["volumes-ready", "they run again until it can be written", 2],
])("no room in /run for %s: %s", async (name, _what, runs) => {
  writeFileSync(join(directory, "up.sls"), "up:\n  test.nop: []\n");
  let failures = 1;
  const full: Host = {
    ...plainHost(host),
    writeFile: async (path, ...rest) => {
      const isFull = path.endsWith(name) && failures > 0;
      if (isFull) failures -= 1;
      if (isFull) throw new HostError("file-failed", `cannot write "${path}": no space left on device`);
      return host.writeFile(path, ...rest);
    },
  };
  const startup = { startup_states: "sls", sls_list: ["up"], startup_retry_min: 0.001 };
  const machine = machineWith(startup, {}, full);
  let ran = 0;
  await start({
    ...machine,
    backing: {
      ...machine.backing,
      pillar: async (patience) => {
        ran += 1;
        return machine.backing.pillar(patience);
      },
    },
  });
  expect(ran).toBe(runs);
  expect(await host.stat(READY)).toBeDefined();
});
