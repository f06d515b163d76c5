import { randomBytes } from "node:crypto";
import { afterAll, expect, test } from "vitest";
import { VOLUME_STEPS } from "../../src/core/volume-steps.ts";
import { findLoop } from "../../src/states/devices/loop-device.ts";
import { growthNeeded, growVolume } from "../../src/states/volume/grow.ts";
import type { VolumeSpec } from "../../src/states/volume/spec.ts";
import { Machine } from "./support/machine.ts";
import { PowerCut } from "./support/power-cut.ts";
import { build, declared, resizeDisk, stackContext } from "./support/declared.ts";
import { Stack } from "./support/stack.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const keys = { "secret:key": machineKey() };
const run = new StateRun(machine.host, machine.directory, keys);
const MIB = 1024 * 1024;
const loops: string[] = [];
const ROWS = randomBytes(3 * MIB);

afterAll(async () => {
  await machine.dispose();
  for (const loop of loops) await machine.host.run(["losetup", "--detach", loop], { okCodes: [0, 1] });
});

const pointOf = ({ mount }: VolumeSpec): string => mount?.point ?? "";

async function fill(volume: VolumeSpec): Promise<void> {
  await machine.host.writeFile(`${pointOf(volume)}/rows`, ROWS, { mode: 0o600 });
  await machine.sh("sync");
}

/** Free space tells that the file system grew; the rows, that nothing was lost. */
async function expectGrown(volume: VolumeSpec, minMib: number): Promise<void> {
  expect((await machine.host.space(pointOf(volume)))?.total).toBeGreaterThan(minMib * MIB);
  expect((await machine.host.readFile(`${pointOf(volume)}/rows`))?.equals(ROWS)).toBe(true);
  expect(await growthNeeded(stackContext(run, volume))).toEqual([]);
  expect(await growVolume(stackContext(run, volume))).toEqual({});
}

const loopStack = (size: string): VolumeSpec =>
  declared(machine.name("l"), {
    loop: { file: `${machine.directory}/backing`, size, sparse: true },
    lvm: { vg: machine.name("lvg"), lv: "data" },
    luks: { key: "secret:key" },
    fs: { type: "ext4" },
    mount: { point: `${machine.directory}/l` },
  });

test("loop > LVM > LUKS > ext4: a bigger size in the pillar grows every layer in one run, reaching every step", async () => {
  await build(run, loopStack("32M"));
  loops.push((await findLoop(machine.host, `${machine.directory}/backing`)) ?? "");
  await fill(loopStack("32M"));
  expect(await growVolume(stackContext(run, loopStack("32M")))).toEqual({});
  const before = run.steps.length;
  const volume = loopStack("64M");
  expect(await growthNeeded(stackContext(run, volume))).toEqual([
    { layer: "loop", field: `loop file ${machine.directory}/backing`, from: "32 MiB", to: "64 MiB" },
  ]);
  const changes = await growVolume(stackContext(run, volume));
  expect(Object.keys(changes).map((what) => what.split(" ").slice(0, 2).join(" "))).toEqual([
    "loop file",
    "loop device",
    "physical volume",
    `logical volume`,
    `mapping /dev/mapper/${machine.name("l")}`,
    "ext4 file",
  ]);
  expect(run.steps.slice(before)).toEqual(VOLUME_STEPS.grow);
  await expectGrown(volume, 45);
  expect(run.secrets.every(({ wiped }) => wiped)).toBe(true);
  const purposes = run.leases.map(({ purpose }) => purpose).filter((purpose) => !["format", "open"].includes(purpose));
  // the kernel's keyring decides whether cryptsetup wants a key
  expect(purposes.length).toBeLessThanOrEqual(1);
  expect(purposes.every((purpose) => purpose === "grow")).toBe(true);
});

test.each(VOLUME_STEPS.grow)("I3: the power goes at %s: the next run goes on, and the rows are there", async (step) => {
  const size = 80 + 16 * VOLUME_STEPS.grow.indexOf(step);
  const volume = loopStack(`${size}M`);
  await expect(growVolume(stackContext(run, volume, step))).rejects.toBeInstanceOf(PowerCut);
  await growVolume(stackContext(new StateRun(machine.host, machine.directory, keys), volume));
  await expectGrown(volume, size - 20);
});

test("a smaller size is refused with the reason before anything runs", async () => {
  const host = { ...machine.host, run: (argv: readonly string[]) => Promise.reject(new Error(`ran ${argv[0]}`)) };
  const watched = new StateRun(host, machine.directory, keys);
  const refused = { code: "cannot-shrink", message: expect.stringContaining("16 MiB are asked for") as string };
  await expect(growVolume(stackContext(watched, loopStack("16M")))).rejects.toMatchObject(refused);
  const volume = loopStack("500M");
  const fixed = { ...volume, lvm: { vg: machine.name("lvg"), lv: "data", size: "16M" } };
  await expect(growVolume(stackContext(watched, fixed))).rejects.toMatchObject(refused);
  await expect(growthNeeded(stackContext(watched, fixed))).rejects.toMatchObject(refused);
});

/** MiB before and after, and what a grown file system has at least: XFS takes 64 of it for its log. */
const SIZES = { ext4: [24, 48, 30], xfs: [320, 360, 285], btrfs: [256, 320, 300] } as const;

test.each(["ext4", "xfs", "btrfs"] as const)("a disk that grew > LUKS > %s, without LVM", async (type) => {
  const [small, large, expected] = SIZES[type];
  const disk = await machine.disk(small);
  const volume = declared(machine.name(type), {
    disk,
    luks: { key: "secret:key" },
    fs: { type },
    mount: { point: `${machine.directory}/${type}` },
  });
  await build(run, volume);
  await fill(volume);
  expect(await growthNeeded(stackContext(run, volume))).toEqual([]);
  await resizeDisk(machine, disk, large);
  expect(await growthNeeded(stackContext(run, volume))).toHaveLength(1);
  const changes = await growVolume(stackContext(run, volume));
  expect(Object.keys(changes)).toHaveLength(2);
  await expectGrown(volume, expected);
});

test("two PVs > LV of a fixed size and of a share > LUKS > ext4", async () => {
  const disks = [await machine.disk(24), await machine.disk(24)];
  const sized = (size: string): VolumeSpec =>
    declared(machine.name("two"), {
      disk: disks,
      lvm: { vg: machine.name("vg2"), lv: "it", size },
      luks: { key: "secret:key" },
      fs: { type: "ext4" },
      mount: { point: `${machine.directory}/two` },
    });
  await build(run, sized("20M"));
  await fill(sized("20M"));
  expect(await growthNeeded(stackContext(run, sized("50%VG")))).toEqual([]);
  expect(Object.keys(await growVolume(stackContext(run, sized("30M"))))).toHaveLength(3);
  await expectGrown(sized("30M"), 24);
  for (const disk of disks) await resizeDisk(machine, disk, 40);
  expect(await growthNeeded(stackContext(run, sized("100%FREE")))).toHaveLength(3);
  await growVolume(stackContext(run, sized("100%FREE")));
  await expectGrown(sized("100%FREE"), 60);
});

test("a disk that became smaller than what is on it is an error before anything runs", async () => {
  const disk = await machine.disk(48);
  const volume = declared(machine.name("less"), { disk, luks: { key: "secret:key" }, fs: { type: "ext4" } });
  await build(run, volume);
  await resizeDisk(machine, disk, 32);
  await expect(growVolume(stackContext(run, volume))).rejects.toMatchObject({ code: "device-shrunk" });
});

test("a file system that nothing mounts grows too, when it is ext4", async () => {
  const disk = await machine.disk(24);
  const volume = declared(machine.name("un"), { disk, fs: { type: "ext4" } });
  await build(run, volume);
  await resizeDisk(machine, disk, 48);
  expect(Object.keys(await growVolume(stackContext(run, volume)))).toEqual([`ext4 file system on ${disk}`]);
  expect(await growVolume(stackContext(run, volume))).toEqual({});
});

test("a rest smaller than a page is no growth: resize2fs leaves it over", async () => {
  const stack = new Stack(machine, "rest", {
    loop: { file: `${machine.directory}/rest.img`, size: 33_000_001 },
    luks: { key: "secret:key", name: machine.name("rest") },
    fs: { type: "ext4" },
    mount: { point: `${machine.directory}/rest` },
  });
  await stack.provision();
  expect(await stack.provision()).toEqual({});
  await stack.stop();
});

test.each(["thin", "raid1"])("a %s volume takes no share of its group: it stays as large as it is", async (type) => {
  for (const name of ["dm-thin-pool", "dm-raid", "raid1"]) await machine.sh("/run/modprobe", name);
  const vg = machine.name(`vg${type}`);
  const disk = [await machine.disk(128), await machine.disk(128)];
  await machine.sh("vgcreate", "-q", vg, ...disk);
  if (type === "thin") {
    await machine.sh("lvcreate", "-q", "-y", "--type", "thin-pool", "-n", "pool", "-L", "64M", vg);
    await machine.sh("lvcreate", "-q", "-y", "-V", "48M", "--thinpool", "pool", "-n", "data", vg);
  } else
    await machine.sh("lvcreate", "-q", "-y", "--type", "raid1", "-m", "1", "--nosync", "-L", "48M", "-n", "data", vg);
  const stack = new Stack(machine, "data", {
    disk,
    lvm: { vg },
    luks: { key: "secret:key", name: machine.name(type) },
    fs: { type: "ext4" },
    mount: { point: `${machine.directory}/${type}` },
  });
  await stack.provision();
  expect(await stack.provision()).toEqual({});
  expect(await machine.sh("lvs", "--noheadings", "--units", "m", "--options", "lv_size", `${vg}/data`)).toContain(
    "48.00m",
  );
  await stack.stop();
});
