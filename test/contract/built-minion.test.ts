import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MasterStatus } from "../../src/core/control-api.ts";
import { controlClient } from "../../src/cli/control-client.ts";
import type { Explained } from "../../src/core/release-api.ts";
import { configIn, type Rig, rig, scratch } from "./master/rig.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const WAIT = { timeout: 60_000, interval: 25 };

let place: ReturnType<typeof scratch>;
let master: Rig;
let child: ChildProcess | undefined;
const at = (name: string) => join(place.directory, name);

/** The product as it is installed: no sources, its packages beside it. */
beforeAll(async () => {
  place = scratch();
  for (const name of ["states", "pillar", "product/bin"]) mkdirSync(at(name), { recursive: true });
  execFileSync(process.execPath, [join(PROJECT, "build.ts"), at("product/dist")], { stdio: "pipe" });
  copyFileSync(join(PROJECT, "bin/latchkey"), at("product/bin/latchkey"));
  symlinkSync(join(PROJECT, "node_modules"), at("product/node_modules"));
  writeFileSync(at("states/top.sls"), "base:\n  '*': [mark]\n");
  writeFileSync(
    at("states/mark.sls"),
    `${at("mark")}:\n  file.managed:\n    - contents: "{{grains.id}} {{pillar.word}}"\n`,
  );
  writeFileSync(at("pillar/top.sls"), "base:\n  '*': [word]\n");
  writeFileSync(at("pillar/word.sls"), "word: up\n");
  master = await rig(place.directory, {}, { auto_accept: true });
});

afterAll(async () => {
  child?.kill("SIGKILL");
  await master.stop();
  place.remove();
});

test("an installed minion begins with the build's snapshot, runs its startup states and ends in order", async () => {
  const { return: returnPort } = master.master.ports;
  // a name: it is looked up by what the snapshot does not have in it
  const ports = { master: "localhost", master_port: returnPort };
  const config = { ...ports, id: "web1", startup_states: "highstate", state_dir: at("minion"), run_dir: at("run") };
  writeFileSync(at("minion.yaml"), JSON.stringify(config));
  let log = "";
  const minion = spawn(at("product/bin/latchkey"), ["minion", "-c", at("minion.yaml")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  child = minion;
  minion.stderr.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  await expect.poll(() => existsSync(at("run/startup.json")), WAIT).toBe(true);
  expect(readFileSync(at("mark"), "utf8").trim()).toBe("web1 up");
  const status = await master.client.request<MasterStatus>("GET", "/v1/status");
  expect(status.minions[0]).toMatchObject({ id: "web1", connected: true });
  expect(readFileSync(`/proc/${minion.pid}/cmdline`, "utf8").split("\0")).toContain("--snapshot-blob");
  // Node says on standard error what it does not know to work in snapshots
  expect(log.split("\n").filter((line) => line !== "" && !line.startsWith("{"))).toEqual([]);
  const { promise, resolve: ended } = Promise.withResolvers<number | null>();
  minion.once("exit", ended);
  minion.kill("SIGTERM");
  expect(await promise).toBe(0);
});

test("an installed master evaluates the expressions of its policy in a thread that it has beside it", async () => {
  mkdirSync(at("own/pillar/hosts"), { recursive: true });
  writeFileSync(at("own/pillar/hosts/web1.yaml"), "password: !generate\n");
  const validator = 'instance.name.matches("^web[0-9]$")';
  writeFileSync(at("own/release.yaml"), JSON.stringify({ rules: [{ name: "webs", match: { validator } }] }));
  const config = { ...configIn(at("own")), release_policy: at("own/release.yaml") };
  writeFileSync(at("own/master.yaml"), JSON.stringify(config));
  const own = spawn(at("product/bin/latchkey"), ["master", "-c", at("own/master.yaml")], { stdio: "ignore" });
  child = own;
  await expect.poll(() => existsSync(config.socket), WAIT).toBe(true);
  const asked = { id: "web1", path: "password", purpose: "open", newBoot: false, address: "10.1.2.3" };
  const client = controlClient(config.socket, new AbortController().signal);
  const explained = await client.request<Explained>("POST", "/v1/policy/explain", asked);
  expect(explained).toMatchObject({ verdict: "allow", rule: "webs" });
  const { promise, resolve: ended } = Promise.withResolvers<number | null>();
  own.once("exit", ended);
  own.kill("SIGTERM");
  expect(await promise).toBe(0);
});
