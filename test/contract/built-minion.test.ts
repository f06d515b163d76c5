import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MasterStatus } from "../../src/core/control-api.ts";
import { type Rig, rig, scratch } from "./master/rig.ts";

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
  const { publish, return: returnPort } = master.master.ports;
  // a name: it is looked up by what the snapshot does not have in it
  const ports = { master: "localhost", master_port: returnPort, publish_port: publish };
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
