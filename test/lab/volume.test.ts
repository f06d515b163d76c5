import { randomBytes } from "node:crypto";
import { appendFileSync, openSync, closeSync, writeSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LabHost } from "../../lab/host.ts";
import { Lab } from "../../lab/lab.ts";
import { needlesOf } from "../../src/core/needles.ts";
import { Scene, VOLUME } from "../../lab/scene.ts";
import { copyMemory, placesOf, samplerFiles } from "../../lab/search.ts";
import { searchFile } from "../../lab/leak-search.ts";
import { waitUntil } from "../../lab/wait-until.ts";

/** A service as README.md tells to write one: it fails where the volume is not mounted. */
const dependentFiles = {
  "/etc/systemd/system/dependent.service": {
    text: `[Unit]
Requires=latchkey-volumes.target
After=latchkey-volumes.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mountpoint ${VOLUME.mountpoint}
`,
  },
  "/etc/systemd/system/latchkey-volumes.target.wants/dependent.service": {
    link: "/etc/systemd/system/dependent.service",
  },
} as const;

let lab: Lab;
let scene: Scene;
let host: LabHost;
beforeAll(async () => {
  lab = await Lab.create((line) => console.error(line));
  scene = await Scene.set(lab, { autoAccept: false, dependents: ["mariadb"] });
  host = await scene.addMinion("alpha", {}, { files: { ...samplerFiles(), ...dependentFiles } });
});
afterAll(async () => {
  await lab?.destroy();
});

const mariadb = (sql: string) => host.run(`mariadb --batch --skip-column-names -e "${sql}"`);
const minionPid = async () =>
  (await host.run("systemctl show --property=MainPID --value latchkey-minion.service")).stdout.trim();
const volumeReached = () => host.console.waitFor(/Reached target latchkey-volumes\.target/u, 60_000, bootMark);
let bootMark = 0;

test("first boot: a key waits, is accepted, and a blank disk becomes a volume with MariaDB on it", async () => {
  const startedAt = Date.now();
  await host.boot();
  const key = await waitUntil("a key waits", async () => (await scene.keys()).find(({ id }) => id === "alpha"), 90_000);
  expect(key.state).toBe("pending");
  await host.console.waitFor(/latchkey keys accept alpha/u, 30_000);
  expect(await scene.leases()).toEqual([]);
  await scene.master.cli(["keys", "accept", "alpha", "--yes"]);
  const run = await scene.startupRun("alpha", startedAt);
  expect(run).toMatchObject({ success: true, startup: true, failed: 0 });
  await volumeReached();
  const devices = (await host.run("lsblk --noheadings --raw --output NAME,TYPE /dev/ubdb")).stdout;
  expect(devices).toBe(`ubdb disk\n${VOLUME.vgName}-${VOLUME.vgName} lvm\n${VOLUME.vgName}_crypt crypt\n`);
  expect((await host.run(`findmnt --noheadings --output SOURCE ${VOLUME.mountpoint}`)).stdout).toBe(
    `/dev/mapper/${VOLUME.vgName}_crypt\n`,
  );
  expect((await mariadb("select @@datadir")).stdout).toContain(VOLUME.mountpoint);
  await mariadb("create database kept; create table kept.rows (word text); insert into kept.rows values ('evergreen')");
});

test("the return tells when the key was leased, used and wiped, and the timeline of the boot", async () => {
  const printed = await scene.printed("alpha");
  expect(printed).toMatch(/key: leased .* used .* wiped/u);
  const { moments } = JSON.parse((await host.read("/run/latchkey/timeline.json")).toString()) as {
    readonly moments: readonly { readonly what: string }[];
  };
  expect(moments.map(({ what }) => what)).toEqual(
    expect.arrayContaining(["kernel started", "connected to the master", "startup states done"]),
  );
});

test("the minion was begun with the snapshot of its memory that the build took", async () => {
  const words = (await host.run(`tr '\\0' '\\n' </proc/${await minionPid()}/cmdline`)).stdout.split("\n");
  expect(words.slice(1)).toEqual([
    "--disable-sigusr1",
    "--snapshot-blob",
    expect.stringMatching(/\/dist\/minion\.blob$/u),
    expect.stringMatching(/\/dist\/latchkey\.mjs$/u),
    "minion",
    "",
  ]);
});

test("the master counts one key and every release of it", async () => {
  expect(scene.releasedKeys().map(({ name }) => name)).toEqual([expect.stringMatching(/^alpha\/password\/0*1$/u)]);
  const leases = await scene.leases();
  expect(leases.map(({ purpose, verdict }) => [purpose, verdict]).toReversed()).toEqual([
    ["format", "allow"],
    ["open", "allow"],
  ]);
});

test("the second run changes nothing", async () => {
  await scene.master.cli(["highstate", "alpha"]);
  const { stdout } = await scene.master.cli(["highstate", "alpha"]);
  expect(stdout).toMatch(/Succeeded: \d+\s*$/mu);
  expect(stdout).not.toContain("changed=");
});

describe("I5: the key is nowhere on the host or in what the master says", () => {
  test("I5: no form of the key is in any place", async () => {
    const [key] = scene.releasedKeys();
    expect(key?.bytes).toHaveLength(32);
    await host.run("sync");
    const needles = needlesOf(key?.bytes ?? Buffer.alloc(0));
    const places = placesOf(scene, host, minionPid);
    for (const [place, search] of Object.entries(places)) {
      expect({ place, leaks: await search(needles) }).toEqual({ place, leaks: [] });
    }
  });

  test("I5: the same search finds a key that was planted in each place", async () => {
    const planted = randomBytes(32);
    const [hex, base64] = [planted.toString("hex"), planted.toString("base64")];
    writeFileSync(join(host.share, "plant"), planted);
    await host.run("cp /lab/plant /var/tmp/plant; sync");
    const disk = openSync(host.dataDisk, "r+");
    writeSync(disk, planted, 0, planted.length, 300 << 20);
    closeSync(disk);
    await host.run(`logger ${hex}; env PLANT=${base64} sleep 20 & echo ${hex} >/dev/ttyS1`);
    await host.run(
      "systemd-run --quiet --unit=holder node -e 'globalThis.k = fs.readFileSync(`/lab/plant`); setInterval(() => k, 9999)'",
    );
    const holder = async () =>
      (await host.run("systemctl show --property=MainPID --value holder.service")).stdout.trim();
    await waitUntil("the holder is there", async () => (await holder()) !== "0", 30_000, 1000);
    await waitUntil("the holder holds it", async () => (await copyFinds(await holder(), planted)) > 0, 30_000, 1000);
    appendFileSync(scene.master.logPath, `${base64}\n`);
    writeFileSync(join(scene.master.stateDirectory, "plant"), `xy${hex.toUpperCase()}`);
    writeFileSync(join(host.share, "said"), `${base64}\n`);
    const needles = needlesOf(planted);
    for (const [place, search] of Object.entries(placesOf(scene, host, holder))) {
      expect({ place, found: (await search(needles)).length > 0 }).toEqual({ place, found: true });
    }
  });
});

async function copyFinds(pid: string, key: Buffer): Promise<number> {
  return searchFile(await copyMemory(host, pid), needlesOf(key)).length;
}

test("reboot: the volume is opened with a fresh lease, the data is still there", async () => {
  const before = (await scene.leases()).length;
  await host.shutdown();
  bootMark = host.console.mark;
  const startedAt = Date.now();
  await host.boot();
  expect(await scene.startupRun("alpha", startedAt)).toMatchObject({ success: true });
  await volumeReached();
  const leases = await scene.leases();
  expect(leases).toHaveLength(before + 1);
  expect(leases[0]).toMatchObject({ purpose: "open", verdict: "allow", id: "alpha" });
  expect((await mariadb("select word from kept.rows")).stdout).toBe("evergreen\n");
});

test("I9: a service of latchkey-volumes.target starts after the volume is mounted, and not without", async () => {
  await host.run("systemctl is-active dependent.service");
  const lines = host.console.lines.slice(bootMark);
  const nth = (pattern: RegExp) => lines.findIndex(({ text }) => pattern.test(text));
  const mounted = nth(/EXT4-fs \(dm-\d+\): mounted|Mounted srv-data\.mount|"state":"mount\.mounted".*exit 0/u);
  expect(mounted).toBeGreaterThanOrEqual(0);
  expect(nth(/Starting dependent\.service/u)).toBeGreaterThan(mounted);
  await host.run("rm /run/latchkey/volumes-ready; systemctl stop latchkey-volumes.target dependent.service");
  const refused = await host.run("systemctl start dependent.service", { okCodes: [1] });
  expect(refused.stderr).toMatch(/dependency/u);
});

test("power cut while MariaDB writes: what was committed is there after the next boot", async () => {
  await mariadb("insert into kept.rows values ('committed')");
  await host.powerCut();
  const startedAt = Date.now();
  await host.boot();
  expect(await scene.startupRun("alpha", startedAt)).toMatchObject({ success: true });
  expect((await mariadb("select word from kept.rows")).stdout).toBe("evergreen\ncommitted\n");
});
