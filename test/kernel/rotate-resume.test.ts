import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { JobEvent, MasterStatus } from "../../src/core/control-api.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { CampaignList, RotationList } from "../../src/core/volume-api.ts";
import { FURTHER_VOLUME_STEPS, VOLUME_STEPS } from "../../src/core/volume-steps.ts";
import { MACHINE_KDF, slotsOpenedBy } from "../../src/minion/volume/keyslots.ts";
import { sha256 } from "../../src/core/crypto/hash.ts";
import { luksSegment, volumeKeyMark } from "../../src/states/devices/luks-slots.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { Fleet, ID } from "./support/fleet.ts";
import { Machine } from "./support/machine.ts";

const KILLED = resolve(import.meta.dirname, "support/minion-killed-at.ts");
const REF = "secret:volumes:data:luks:key";
const WAIT = { timeout: 60_000, interval: 50 };
const machine = new Machine();
const { host } = machine;

let directory: string;
let fleet: Fleet;
let disk: string;
let children: ChildProcess[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-resume-"));
  fleet = new Fleet(directory, host);
  disk = join(directory, "disk");
  writeFileSync(disk, Buffer.alloc(16 * 1024 * 1024));
  fleet.pillar(`volumes:\n  data:\n    disk: ${disk}\n    luks: { key: !generate }\n`);
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await fleet.stopMaster();
  rmSync(directory, { recursive: true, force: true });
});

async function format(): Promise<void> {
  await fleet.lease(REF, "format", { device: disk }, async ({ secret }) => {
    const options = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-slot=0", ...MACHINE_KDF];
    const key = ["--key-file=-", `--keyfile-size=${secret.length}`];
    await host.run(["cryptsetup", "luksFormat", ...options, ...key, "--", disk], { stdin: secret });
  });
}

/** Starts the minion as a process; it is the same host as the fleet's own by its key. */
async function startMinion(at: string): Promise<ChildProcess> {
  const { master } = await fleet.master();
  const config = join(directory, "minion.yaml");
  const text = {
    id: ID,
    master: "127.0.0.1",
    master_port: master.ports.return,
    master_finger: master.fingerprint,
    state_dir: join(directory, "minion"),
    run_dir: join(directory, "run"),
  };
  writeFileSync(config, JSON.stringify(text));
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", KILLED, config, at], {
    stdio: ["ignore", "ignore", process.env["LATCHKEY_TEST_LOG"] ? "inherit" : "ignore"],
  });
  children.push(child);
  return child;
}

async function connected(): Promise<void> {
  const { client } = await fleet.master();
  const isConnected = async () => {
    const { minions } = await client.request<{ minions: { connected: boolean }[] }>("GET", "/v1/status");
    return minions[0]?.connected;
  };
  await expect.poll(isConnected, WAIT).toBe(true);
}

async function push(fun: string, kwargs: JsonObject = {}): Promise<readonly JobEvent[]> {
  const { client } = await fleet.master();
  const request = { target: { kind: "glob", expr: ID }, fun, args: [], kwargs, timeoutMs: 10_000 };
  const events: JobEvent[] = [];
  for await (const event of client.stream<JobEvent>("POST", "/v1/jobs", request)) events.push(event);
  return events;
}

const state = async () => {
  const { client } = await fleet.master();
  return (await client.request<RotationList>("GET", "/v1/rotations")).rotations[0]?.state;
};

/** How many slots the version opens that a boot would get. */
async function opened(): Promise<number> {
  const luks = await readLuksHeader(host, disk);
  if (luks.kind !== "valid") throw new Error("no header");
  const acting = { host, signal: new AbortController().signal };
  return fleet.lease(REF, "open", { device: disk }, async (key) => {
    return (await slotsOpenedBy(acting, disk, luks.header, key)).length;
  });
}

/** The kill matrix has them all; here it is the startup run that takes the rotation up, which one step shows as well as all. */
const KILLED_AT = process.env["LATCHKEY_TEST_ALL_STEPS"]
  ? VOLUME_STEPS.rotate.filter((step) => step !== "rotate:done")
  : (["rotate:slot-added"] as const);

test.each(KILLED_AT)("I3: a minion killed at %s completes the rotation by itself when it starts again", async (at) => {
  const first = await startMinion(at);
  await connected();
  await format();
  const exited = once(first, "exit");
  const pushing = push("volume.rotate");
  await exited;
  expect(await opened()).toBe(1);
  await startMinion("none");
  await pushing;
  await expect.poll(state, WAIT).toBe("done");
  expect(await opened()).toBe(1);
  const luks = await readLuksHeader(host, disk);
  expect(Object.keys(luks.kind === "valid" ? (luks.header.metadata["keyslots"] as object) : {})).toHaveLength(1);
});

/** What a rollback must not touch: the volume key's digest, and everything behind the header. */
async function contents(): Promise<string> {
  const luks = await readLuksHeader(host, disk);
  if (luks.kind !== "valid") throw new Error("no header");
  const { offset } = luksSegment(luks.header);
  return `${volumeKeyMark(luks.header)} ${sha256(readFileSync(disk).subarray(offset)).toString("hex")}`;
}

const ROLLED_BACK_AT = process.env["LATCHKEY_TEST_ALL_STEPS"]
  ? FURTHER_VOLUME_STEPS.rollback
  : (["rollback:reverting"] as const);

test.each(ROLLED_BACK_AT)(
  "I3: a minion killed at %s of a rollback leaves a key that opens, and ends it when it starts again",
  async (at) => {
    const first = await startMinion(at);
    await connected();
    await format();
    const header = await readLuksHeader(host, disk);
    const offset = header.kind === "valid" ? luksSegment(header.header).offset : 0;
    const image = openSync(disk, "r+");
    writeSync(image, randomBytes(1024 * 1024), 0, 1024 * 1024, offset);
    closeSync(image);
    const before = await contents();
    await push("volume.rotate", { keep_old: true });
    await expect.poll(state, WAIT).toBe("committed");
    const exited = once(first, "exit");
    const pushing = push("volume.rotate_rollback");
    await exited;
    expect(await opened()).toBe(1);
    expect(await contents()).toBe(before);
    await startMinion("none");
    await pushing;
    // before the master had heard of it nothing was taken back: both keys stay
    await expect.poll(state, WAIT).toBe(at === "rollback:noted" ? "committed" : "rolled-back");
    expect(await opened()).toBe(1);
    expect(await contents()).toBe(before);
  },
);

test("a campaign leaves a host that is away for its next startup run, which tells the master that it is done", async () => {
  const first = await startMinion("none");
  await connected();
  await format();
  const exited = once(first, "exit");
  first.kill("SIGKILL");
  await exited;
  const { client } = await fleet.master();
  const isThere = async () => (await client.request<MasterStatus>("GET", "/v1/status")).minions[0]?.connected;
  await expect.poll(isThere, WAIT).toBe(false);
  const target = { kind: "glob", expr: "*" };
  const request = { target, volumes: [], batch: "10%", maxFailures: 1, deadlineMs: 600_000, keepOld: false };
  await client.request("POST", "/v1/campaigns", request);
  const campaign = async () => {
    const [last] = (await client.request<CampaignList>("GET", "/v1/campaigns")).campaigns;
    return last?.hosts.map(({ state: one }) => one);
  };
  await expect.poll(campaign, WAIT).toEqual(["offline"]);
  await startMinion("none");
  await expect.poll(state, WAIT).toBe("done");
  await expect.poll(campaign, WAIT).toEqual(["done"]);
  expect(await opened()).toBe(1);
});
