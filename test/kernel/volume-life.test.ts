import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditRecord } from "../../src/core/audit/chain.ts";
import type { ControlEvent, MasterStatus } from "../../src/core/control-api.ts";
import type { ErasureList, VolumeList } from "../../src/core/volume-api.ts";
import type { HeaderList } from "../../src/core/volume-header.ts";
import { runCli } from "../cli/run-cli.ts";
import { addOperator, sign } from "../contract/master/approving.ts";
import { type Rig, rig } from "../contract/master/rig.ts";
import { Machine } from "./support/machine.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");
const WAIT = { timeout: 90_000, interval: 200 };
const machine = new Machine();
const vg = machine.name("vg");
const point = join(machine.directory, "mnt");
const device = `/dev/${vg}/data`;
const at = (name: string) => join(machine.directory, name);
let master: Rig;
let minion: ChildProcess;

const cli = (...argv: readonly string[]) => runCli(argv, { socket: at("run/master.sock") });
const status = async () => master.client.request<MasterStatus>("GET", "/v1/status");
const volumes = async () => (await master.client.request<VolumeList>("GET", "/v1/volumes")).volumes;
const headers = async () => (await master.client.request<HeaderList>("GET", "/v1/headers")).headers;

beforeAll(async () => {
  const disk = await machine.disk(48);
  for (const name of ["states", "pillar/hosts"]) mkdirSync(at(name), { recursive: true });
  const volume = {
    disk,
    lvm: { vg, lv: "data" },
    luks: { key: "KEY", name: machine.name("data") },
    fs: { type: "ext4" },
    mount: { point },
  };
  const pillar = JSON.stringify({ volumes: { data: volume } }).replace('"KEY"', "!generate ");
  writeFileSync(at("pillar/hosts/host1.yaml"), pillar);
  master = await rig(machine.directory, {}, { auto_accept: true });
  const { return: returnPort } = master.master.ports;
  const config = {
    id: "host1",
    master: "127.0.0.1",
    master_port: returnPort,
    state_dir: at("minion"),
    run_dir: at("minion-run"),
    volume_check_interval: 3,
  };
  writeFileSync(at("minion.yaml"), JSON.stringify(config));
  const argv = ["--disable-warning=ExperimentalWarning", MAIN, "minion", "-c", at("minion.yaml")];
  minion = spawn(process.execPath, argv, { stdio: ["ignore", "ignore", "inherit"] });
}, 120_000);
afterAll(async () => {
  minion.kill("SIGKILL");
  await master.stop();
  await machine.dispose();
});

test("provisioned by an operator: the master is told, and the header goes into escrow and is proven, unasked", async () => {
  await expect.poll(async () => (await status()).minions[0]?.connected, WAIT).toBe(true);
  expect(await cli("volume", "provision", "host1", "-t", "120s")).toMatchObject({ status: 0 });
  await expect.poll(async () => (await volumes())[0]?.state, WAIT).toBe("up");
  await expect.poll(async () => (await headers())[0]?.proven.version, WAIT).toBe(1);
  expect((await volumes())[0]).toMatchObject({ id: "host1", volume: "data", problems: [], slots: [{ version: 1 }] });
});

test("volume status and check, as an operator sees them", async () => {
  const shown = await cli("volume", "status", "host1");
  expect(shown.status).toBe(0);
  for (const layer of ["disk", "pv", "vg", "lv", "luks", "fs ext4", "mount"]) {
    expect(shown.stdout).toMatch(new RegExp(`[├└]─ ${layer}\\b.* up\\b`, "u"));
  }
  expect(shown.stdout).toMatch(/└─ data .* up .*key version 1, last lease \d+ (?:s|min) ago/u);
  const checked = await cli("volume", "check", "host1/data");
  expect(checked.stdout).toMatch(/version 1 of the stored key opens it, in \d+ ms/u);
  expect(checked.status).toBe(0);
  const devs = await cli("volume", "devs", "host1");
  expect(devs.stdout).toMatch(new RegExp(`luks .*${device} +/dev/mapper/`, "u"));
});

test("the master's keyslot killed by hand under the open volume: found by and by, told before the next boot, put right", async () => {
  const heard: ControlEvent[] = [];
  const following = (async () => {
    for await (const event of master.client.stream<ControlEvent>("GET", "/v1/events")) {
      if (event.tag.startsWith("volume/problem/")) heard.push(event);
    }
  })().catch(() => undefined);
  await machine.sh("cryptsetup", "luksKillSlot", "--batch-mode", device, "0");
  // that no keyslot is left is reported first; the check that tries the key comes by and by
  const found = async () => (await status()).nextBootFails.flatMap(({ problems }) => problems.map(({ code }) => code));
  await expect.poll(found, WAIT).toContain("key-does-not-open");
  const { stdout } = await cli("status");
  expect(stdout).toContain("the next boot of 1 host would fail:");
  expect(stdout).toMatch(/host1\/data .* the stored key does not open this volume/u);
  expect(heard).toContainEqual(
    expect.objectContaining({
      tag: "volume/problem/host1",
      data: expect.objectContaining({ code: "key-does-not-open" }) as object,
    }),
  );

  const restart = await cli("volume", "restart", "host1/data", "-t", "60s");
  expect(restart.status).not.toBe(0);
  expect(restart.stdout).toContain(
    "no verified copy of the key of volume data would remain: restore the key or use --force to skip this safeguard",
  );
  expect((await volumes())[0]?.state).toBe("up");

  const dry = await cli("volume", "header", "restore", "host1/data", "--dry-run");
  expect(dry.stdout).toContain("keyslot 0 comes back: version 1 of the stored key");
  expect((await status()).nextBootFails).toHaveLength(1);
  const restored = await cli("volume", "header", "restore", "host1/data", "-t", "120s");
  expect(restored.stdout).toContain("version 1 of the stored key opens it");
  expect(restored.status).toBe(0);
  await expect.poll(async () => (await status()).nextBootFails, WAIT).toEqual([]);
  expect((await cli("volume", "header", "list", "host1")).stdout).toMatch(/host1 +data +1 .* 0:v1 .* version 1/u);
  await machine.sh("sync");
  void following;
});

test("I3: erased for good: first the host's keyslots, then, on its signed word, every header and key at the master", async () => {
  const [ann, bob] = [await addOperator(master, "ann"), await addOperator(master, "bob")];
  const carol = await addOperator(master, "carol");
  const ask = {
    what: "ask-erase" as const,
    master: master.master.fingerprint,
    erasure: "ab".repeat(16),
    minion: "host1",
    volume: "data",
    operator: "carol",
    expires: Date.now() + 60_000,
  };
  await master.client.request("POST", "/v1/erasures", { id: "host1", volume: "data", asked: sign(ask, carol) });
  const waiting = await cli("volume", "erase", "host1/data", "--final");
  expect(waiting).toMatchObject({ status: 1, stdout: expect.stringContaining("0 of 2") as string });
  const [asked] = (await master.client.request<ErasureList>("GET", "/v1/erasures")).erasures;
  if (asked === undefined) throw new Error("no erasure waits");
  for (const [operator, by] of [["ann", ann] as const, ["bob", bob] as const]) {
    const { erasure, luksUuid } = asked;
    const about = { master: master.master.fingerprint, erasure, minion: "host1", volume: "data", luksUuid };
    const statement = { what: "erase" as const, ...about, operator, expires: Date.now() + 600_000 };
    await master.client.request("POST", "/v1/erasures/approve", sign(statement, by));
  }
  const execute = async () =>
    master.client.request("POST", "/v1/erasures/execute", { id: "host1", volume: "data", typed: "data" });
  // past the command line: the volume is up, its host has erased nothing
  await expect(execute()).rejects.toMatchObject({ code: "keyslots-not-erased" });
  expect((await headers()).length).toBeGreaterThan(0);
  const erased = await cli("volume", "erase", "host1/data", "--final", "--yes-erase", "data", "-t", "120s");
  expect(erased.stdout).toContain("erased host1/data for good: no header and no key of it is left at the master\n");
  expect(erased.status).toBe(0);
  expect(await machine.sh("cryptsetup", "luksDump", device)).not.toMatch(/^ +\d+: luks2$/mu);
  expect(await headers()).toEqual([]);
  const kinds: string[] = [];
  for await (const { kind } of master.client.stream<AuditRecord>("GET", "/v1/audit?minion=host1")) kinds.push(kind);
  const order = ["erase-asked", "keyslots-erased", "erase-final", "header-destroyed", "erase-done"];
  expect(kinds.filter((kind) => order.includes(kind))).toEqual(order);
  expect((await cli("volume", "start", "host1/data", "-t", "60s")).status).not.toBe(0);
});

test("a host that is gone is shown as it last was, with the age of that", async () => {
  minion.kill("SIGKILL");
  await expect.poll(async () => (await status()).minions[0]?.connected, WAIT).toBe(false);
  const shown = await cli("volume", "status", "host1");
  expect(shown.stdout).toMatch(/^host1 .* offline$/mu);
  expect(shown.stdout).toMatch(/└─ data .*as reported \d+ s ago/u);
  expect(shown.status).toBe(1);
});
