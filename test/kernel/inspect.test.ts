import { afterAll, beforeAll, expect, test } from "vitest";
import type { VolumeStatus } from "../../src/core/volume-status.ts";
import { inspectVolume } from "../../src/minion/volume/inspect.ts";
import { writeLuksToken } from "../../src/states/devices/luks-token.ts";
import { Machine, hashOf, scribble } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";
import { volumeContext, volumeOf } from "./support/volume-context.ts";

const machine = new Machine();
const keys = { "secret:key": machineKey() };
const vg = machine.name("vg");
const mapping = machine.name("data");
const point = `${machine.directory}/mnt`;
let run: StateRun;
let disks: readonly string[] = [];

const section = () => ({
  disk: [...disks],
  lvm: { vg, lv: "data" },
  luks: { key: "secret:key", name: mapping },
  fs: { type: "ext4" },
  mount: { point },
});
const look = () => inspectVolume(volumeContext(run, volumeOf("data", section()), machine.directory));
const statesOf = ({ layers }: VolumeStatus) => layers.map(({ layer, state }) => `${layer} ${state}`);
const codesOf = ({ report }: VolumeStatus) => report.problems.map(({ code }) => code);

beforeAll(async () => {
  run = new StateRun(machine.host, machine.directory, keys);
  disks = [await machine.disk(24), await machine.disk(24)];
});
afterAll(() => machine.dispose());

test("blank disks: every layer from the group up is not provisioned, and looking writes nothing", async () => {
  const before = disks.map((disk) => hashOf(disk));
  const status = await look();
  expect(statesOf(status)).toEqual([
    "disk up",
    "disk up",
    "pv not-provisioned",
    "pv not-provisioned",
    "vg not-provisioned",
    "lv not-provisioned",
    "luks down",
    "fs down",
    "mount down",
  ]);
  expect(status.report).toMatchObject({ state: "not-provisioned", luksUuid: "", headerDigest: "", problems: [] });
  expect(disks.map((disk) => hashOf(disk))).toEqual(before);
});

test("a volume that stands: every layer up with device, size, UUIDs, slots and use; one look starts no process", async () => {
  await machine.sh("pvcreate", "-q", ...disks);
  await machine.sh("vgcreate", "-q", vg, ...disks);
  await machine.sh("lvcreate", "-q", "-Wn", "-Zn", "-l", "100%FREE", "-n", "data", vg);
  const device = `/dev/${vg}/data`;
  await run.apply("luks.formatted", { name: device, key: "secret:key" });
  const machineSlot = { slot: 0, version: 1 };
  await writeLuksToken(run.context, device, { state: "committed", machine: [machineSlot], volume: "data", made: 1 });
  await run.apply("luks.opened", { name: mapping, device, key: "secret:key" });
  await run.apply("fs.formatted", { name: `/dev/mapper/${mapping}`, fstype: "ext4" });
  await run.apply("mount.mounted", { name: point, device: `/dev/mapper/${mapping}`, fstype: "ext4", mkmnt: true });
  const quiet = { ...machine.host, run: () => Promise.reject(new Error("a process")) };
  const context = volumeContext(run, volumeOf("data", section()), machine.directory);
  const status = await inspectVolume({ ...context, host: quiet });
  expect([...new Set(status.layers.map(({ state }) => state))]).toEqual(["up"]);
  const luks = status.layers.find(({ layer }) => layer === "luks");
  expect(luks).toMatchObject({ name: mapping, device, exposed: [`/dev/mapper/${mapping}`], details: { open: true } });
  expect([...(luks?.base ?? [])].sort()).toEqual([...disks].sort());
  const fs = status.layers.find(({ layer }) => layer === "fs");
  expect(fs?.details["total"]).toBeGreaterThan(30_000_000);
  const { report } = status;
  expect(report).toMatchObject({ state: "up", device, keyPath: "key", problems: [] });
  expect(report.slots).toMatchObject([{ slot: 0, kdf: "pbkdf2", priority: "prefer", version: 1 }]);
  expect(report.luksUuid).toBe((await machine.sh("cryptsetup", "luksUUID", device)).trim());
  expect(report.disk.pvUuids).toHaveLength(2);
  await machine.sh("cryptsetup", "luksHeaderBackup", "--header-backup-file", `${machine.directory}/backup`, device);
  expect((await machine.sh("sha256sum", `${machine.directory}/backup`)).split(" ")[0]).toBe(report.headerDigest);
});

test("closed, then inactive: down, and nothing else changes in the report", async () => {
  const before = (await look()).report;
  await machine.sh("umount", point);
  expect((await look()).report.state).toBe("partial");
  await machine.sh("cryptsetup", "close", mapping);
  const closed = await look();
  expect(statesOf(closed).slice(-3)).toEqual(["luks down", "fs down", "mount down"]);
  expect(closed.report).toMatchObject({ ...before, at: closed.report.at, state: "down" });
  await machine.sh("vgchange", "-q", "--activate", "n", vg);
  const inactive = await look();
  expect(statesOf(inactive)).toContain("lv down");
  expect(inactive.report).toMatchObject({ state: "down", luksUuid: "" });
  await machine.sh("vgchange", "-q", "--activate", "y", vg);
});

test("disks that swapped names are still one volume; one that is gone is told, and is fatal", async () => {
  const names = disks;
  disks = names.toReversed();
  expect(codesOf(await look())).toEqual([]);
  disks = [names[0] ?? "", "/dev/not-there"];
  const status = await look();
  expect(status.report.problems).toContainEqual({
    code: "disk-missing",
    text: 'there is no device "/dev/not-there"',
    fatal: true,
  });
  disks = names;
});

test("a keyslot killed by hand, and a header that was overwritten, are fatal problems", async () => {
  const device = `/dev/${vg}/data`;
  const wanted = Buffer.from("by hand");
  const before = await look();
  const stdin = Buffer.concat([keys["secret:key"].bytes, wanted]);
  const sizes = ["--keyfile-size=32", "--new-keyfile=-", `--new-keyfile-size=${wanted.length}`];
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  await machine.shWith(stdin, "cryptsetup", "luksAddKey", "--key-file=-", ...sizes, ...kdf, device);
  const added = await look();
  expect(added.report.slots).toHaveLength(2);
  expect(added.report.headerDigest).not.toBe(before.report.headerDigest);
  await machine.sh("cryptsetup", "luksKillSlot", "--batch-mode", device, "0");
  expect(codesOf(await look())).toContain("machine-slot-gone");
  scribble(device, 0, Buffer.alloc(0x8000, 7));
  const status = await look();
  expect(status.layers.find(({ layer }) => layer === "luks")?.state).not.toBe("up");
  expect(status.report.problems.every(({ fatal }) => fatal)).toBe(true);
  expect(status.report.headerDigest).toBe("");
});
