import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { returnText } from "../../src/cli/output.ts";
import type { LeaseList } from "../../src/core/control-api.ts";
import { isJsonObject, type Json } from "../../src/core/json.ts";
import { Fleet, ID } from "./support/fleet.ts";
import { Machine } from "./support/machine.ts";
import { Services } from "./support/services.ts";

/** Whole commands as a master pushes them: real sessions, leases and audit log, a real kernel. */
const machine = new Machine();
const services = new Services(["db"]);
const fleet = new Fleet(machine.makeDirectory("fleet"), services.on(machine.host));
const point = `${machine.directory}/data`;
const NO_COLOUR = (_colour: string, text: string) => text;
let disk = "";

const pillar = (size: string) => `volumes:
  data:
    disk: ${disk}
    lvm: { vg: ${machine.name("vg")}, size: ${size} }
    luks: { key: !generate , name: ${machine.name("m")} }
    fs: { type: ext4 }
    mount: { point: ${point}, mode: '0750' }
    dependents: [db]
`;

/** Runs a command; what an operator would see of it, times left out. */
async function command(fun: string, kwargs: Readonly<Record<string, Json>> = {}, args: readonly Json[] = ["data"]) {
  const { data, retcode } = await fleet.run(fun, kwargs, args);
  const text = returnText({ id: ID, fun, success: retcode === 0, data }, NO_COLOUR);
  return { retcode, text: text.replaceAll(/ \(\d+\.\d s\)/gu, "") };
}

/** The leases so far, newest first: for what, and what their two receipts say. */
async function fates() {
  const { client } = await fleet.master();
  const { leases } = await client.request<LeaseList>("GET", "/v1/leases?limit=100");
  const outcome = (receipt: Json | undefined) => (isJsonObject(receipt) ? receipt["outcome"] : receipt);
  return leases.map(({ purpose, receipt, mounted }) => [purpose, outcome(receipt), outcome(mounted)]);
}

beforeAll(async () => {
  disk = await machine.disk(64);
  fleet.pillar(pillar("24M"));
  const sls = (text: string) => `data:\n  ${text}\n`;
  const files = {
    up: sls("volume.running: []"),
    down: sls("volume.stopped: []"),
    gone: sls("volume.absent: []"),
    "really-gone": sls("volume.absent:\n    - confirm: data"),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(fleet.directory, "states", `${name}.sls`), text);
});
afterAll(async () => {
  await fleet.stopMaster();
  await machine.dispose();
});

test("plan says what would be written on, with its size and what is on it", async () => {
  const { text, retcode } = await command("volume.plan");
  expect(retcode).toBe(0);
  expect(text).toContain(`1. physical volume ${disk}: ${disk}  WRITES\n          on ${disk}, serial`);
  expect(text).toContain("64 MiB: it is blank: no signature, not in use");
});

test("start of what is not there refuses; provision makes it; a second one does nothing", async () => {
  const refused = await command("volume.start");
  expect(refused).toMatchObject({ retcode: 1, text: expect.stringContaining("FAILED: cannot start volume") });
  const made = await command("volume.provision");
  expect(made).toMatchObject({ retcode: 0, text: expect.stringContaining("data: provisioned and up") });
  expect(services.running).toEqual(["db"]);
  expect(await fates()).toEqual([
    ["open", "opened", "mounted"],
    ["format", "formatted", "mounted"],
  ]);
  expect((await command("volume.provision")).text).toBe(`${ID}:\n    data: up already: nothing was done\n`);
  expect((await command("volume.plan")).text).toBe(`${ID}:\n    data: up: there is nothing to do\n`);
});

test("stop proves the stored key first, and start leases it again", async () => {
  const stopped = await command("volume.stop");
  expect(stopped.text).toMatch(/data: down\n[^]*the stored key \(version 1\) opens the header/u);
  expect((await command("volume.start")).text).toMatch(/data: up\n +logical volume active .*\n +mapping .*\n +mount/u);
  expect((await fates())[0]).toEqual(["open", "opened", "mounted"]);
  expect((await command("volume.restart")).retcode).toBe(0);
  const checks = (await fates()).filter(([purpose]) => purpose === "check");
  expect(checks.length).toBeGreaterThan(0);
  expect(new Set(checks.map(([, , mounted]) => mounted))).toEqual(new Set([null]));
});

test("a size made bigger in the pillar grows it online; a smaller one is refused and takes nothing down", async () => {
  fleet.pillar(pillar("40M"));
  expect((await command("volume.plan")).text).toContain("data");
  const grown = await command("volume.provision");
  expect(grown).toMatchObject({ retcode: 0, text: expect.stringContaining("40 MiB") });
  fleet.pillar(pillar("16M"));
  const refused = await command("volume.provision");
  expect(refused).toMatchObject({ retcode: 1, text: expect.stringContaining("smaller") });
  expect(services.running).toEqual(["db"]);
  fleet.pillar(pillar("40M"));
});

test("the states do the same in a highstate: up, down, nothing the second time, and a test run that foretells it", async () => {
  const run = (name: string, test = false) => command("state.apply", { test }, [name]);
  expect((await run("up")).text).toContain("volume data is up");
  expect((await run("down", true)).text).toContain("would take down volume data");
  expect((await run("down")).text).toContain("volume data is down: dependent db, mount, mapping, logical volume");
  expect((await run("down")).text).toContain("volume data is down\n");
  expect((await run("up", true)).text).toContain("would bring up volume data: logical volume active, mapping, mount");
  expect((await run("up")).retcode).toBe(0);
  expect((await fates())[0]).toEqual(["open", "opened", "mounted"]);
});

test("removal needs the name twice, everywhere", async () => {
  expect((await command("volume.unprovision")).text).toContain("its name has to be said a second time");
  expect((await command("volume.unprovision", { confirm: ["data"] }, [])).text).toContain("are not named");
  expect((await command("state.apply", {}, ["gone"])).text).toContain("nobody said that it may go");
  expect(services.running).toEqual(["db"]);
});

test("unprovision erases, removes and forgets; what comes after has a new key, and the old one is kept", async () => {
  const gone = await command("volume.unprovision", { confirm: ["data"] });
  expect(gone).toMatchObject({ retcode: 0, text: expect.stringContaining("removed: its keyslots are erased") });
  expect(gone.text).toMatch(/key +stored > versions up to 1 set aside at the master/u);
  expect((await command("volume.unprovision", { confirm: ["data"] })).retcode).toBe(0);
  await command("volume.provision");
  expect((await command("volume.stop")).text).toContain("the stored key (version 2) opens the header");
  const really = await command("state.apply", {}, ["really-gone"]);
  expect(really).toMatchObject({ retcode: 0, text: expect.stringContaining("volume data is erased and removed") });
  const again = await command("state.apply", {}, ["really-gone"]);
  expect(again.text).toContain("there is no volume data");
});
