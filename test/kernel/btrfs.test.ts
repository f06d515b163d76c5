import { readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { findContents } from "../../src/states/devices/blank.ts";
import { requireBlockDevice } from "../../src/states/devices/block-device.ts";
import { BTRFS_SUPERBLOCK } from "../../src/states/devices/btrfs-superblock.ts";
import { readSuperblock } from "../../src/states/devices/superblock.ts";
import { Machine } from "./support/machine.ts";
import { cutDuring, PowerCut } from "./support/power-cut.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const keys = { "secret:password": machineKey() };
const freshRun = (host = machine.host): StateRun => new StateRun(host, machine.directory, keys);
afterAll(() => machine.dispose());

test("two PVs > LV > LUKS > btrfs: built, the second run changes nothing, and it comes up again", async () => {
  expect(readFileSync("/proc/filesystems", "utf8")).toContain("btrfs");
  const disks = [await machine.disk(80), await machine.disk(80)];
  const vg = machine.name("vg");
  const [device, mapping, point] = [`/dev/${vg}/data`, machine.name("open"), `${machine.directory}/data`];
  const open = `/dev/mapper/${mapping}`;
  const steps = [
    ["lvm.vg_present", { name: vg, devices: disks }],
    ["lvm.lv_present", { name: "data", vgname: vg, size: "100%FREE" }],
    ["luks.formatted", { name: device, key: "secret:password", keyslots_size: "2M" }],
    ["luks.opened", { name: mapping, device, key: "secret:password" }],
    ["fs.formatted", { name: open, fstype: "btrfs", label: "a-longer-label-than-xfs-has" }],
    ["mount.mounted", { name: point, device: open, fstype: "btrfs", mkmnt: true, opts: "noatime" }],
  ] as const;
  const run = freshRun();
  for (const [name, params] of steps) expect(await run.apply(name, params)).toHaveLength(1);
  await machine.host.writeFile(`${point}/precious`, Buffer.from("row 1"), { mode: 0o600 });
  for (const [name, params] of steps) expect(await run.apply(name, params)).toEqual([]);
  // btrfs mounts have a device number of their own: what is mounted is found all the same
  const busy = { code: "device-busy", message: expect.stringContaining(`is mounted on "${point}"`) as string };
  await expect(run.test("luks.closed", { name: mapping, device })).rejects.toMatchObject(busy);
  await run.apply("mount.unmounted", { name: point, device: open });
  await run.apply("luks.closed", { name: mapping, device });
  await run.apply("lvm.lv_inactive", { name: "data", vgname: vg });
  for (const [name, params] of steps) await freshRun().apply(name, params);
  expect((await machine.host.readFile(`${point}/precious`))?.toString("utf8")).toBe("row 1");
  expect(run.steps).toEqual(expect.arrayContaining(["provision:fs-noted", "provision:fs-made"]));
  expect(await findContents(machine.host, await requireBlockDevice(machine.host, open))).toMatch(/is mounted on/u);
});

test("I2: a btrfs file system is named in a refusal; mkfs.btrfs killed in the middle is done again", async () => {
  const path = await machine.disk(128);
  const wanted = { name: path, fstype: "btrfs" };
  const hasBegun = async (): Promise<boolean> =>
    (await machine.host.readRange(path, BTRFS_SUPERBLOCK.offset, 4096))?.some((byte) => byte > 0) === true;
  const host = cutDuring(machine.host, (argv) => argv[0] === "mkfs.btrfs", hasBegun);
  await expect(freshRun(host).apply("fs.formatted", wanted)).rejects.toBeInstanceOf(PowerCut);
  await freshRun().apply("fs.formatted", wanted);
  expect(await freshRun().apply("fs.formatted", wanted)).toEqual([]);
  expect(await readSuperblock(machine.host, path)).toMatchObject({ fsType: "btrfs", complete: true });
  const refused = { code: "wrong-device", message: expect.stringMatching(/file system: btrfs .*uuid/u) as string };
  await expect(freshRun().test("fs.formatted", { ...wanted, fstype: "ext4" })).rejects.toMatchObject(refused);
  await expect(freshRun().test("lvm.pv_present", { name: path })).rejects.toMatchObject(refused);
});
