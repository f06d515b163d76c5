import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { Json } from "../../src/core/json.ts";
import { inspectVolume } from "../../src/minion/volume/inspect.ts";
import { destroy } from "../../src/states/volume/destroy.ts";
import { MirrorArray } from "./support/array.ts";
import { hashOf, Machine, scribble } from "./support/machine.ts";
import { Stack } from "./support/stack.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const MIB = 1024 * 1024;
beforeAll(async () => {
  for (const name of ["md-mod", "raid1"]) await machine.sh("/run/modprobe", name);
});
afterAll(() => machine.dispose());

const declared = (name: string, more: Readonly<Record<string, Json>>): Json => ({
  luks: { key: `secret:${name}`, name: machine.name(name) },
  fs: { type: "ext4" },
  mount: { point: `${machine.directory}/${name}` },
  ...more,
});

test("I2: a member of an array that is not assembled is never the volume's disk: nothing is opened, made or removed on it", async () => {
  const disks = [await machine.disk(40), await machine.disk(40)];
  const array = new MirrorArray(machine, "md_lk9", disks);
  await array.create("host:9", 40 * MIB);
  const stack = new Stack(machine, "md", declared("m", { disk: array.node }));
  await stack.provision();
  expect(await stack.provision()).toEqual({});
  await stack.stop();
  await array.stop();
  const [member = "", other = ""] = disks;
  await machine.sh("losetup", "--detach", other);
  const before = hashOf(member);
  const refused = {
    code: "device-missing",
    message: expect.stringMatching(
      /"\/dev\/loop\d+".* is a member of array "host:9" \(linux_raid_member, UUID/u,
    ) as string,
    hint: expect.stringContaining("mdadm --assemble") as string,
  };
  await expect(stack.start()).rejects.toMatchObject(refused);
  await expect(stack.provision()).rejects.toMatchObject(refused);
  // also where the pillar names the member itself, and by the single states
  const direct = new Stack(machine, "direct", declared("m", { disk: member }));
  for (const act of [() => direct.start(), () => direct.provision()])
    await expect(act()).rejects.toMatchObject(refused);
  await expect(destroy(direct.context(), { killHolders: false, force: false })).rejects.toMatchObject(refused);
  const run = new StateRun(machine.host, machine.directory, { "secret:m": machineKey() });
  const open = { name: machine.name("direct"), device: member, key: "secret:m" };
  await expect(run.apply("luks.opened", open)).rejects.toMatchObject(refused);
  const machineOf = { clock: systemClock, config: { stateDir: machine.directory } };
  const { report } = await inspectVolume({ host: machine.host, volume: direct.volume, machine: machineOf });
  expect(report.problems).toContainEqual(
    expect.objectContaining({ code: "wrong-device", text: expect.stringContaining("host:9") as string, fatal: true }),
  );
  expect(hashOf(member)).toBe(before);
});

test("I2: a disk with another kind's metadata at its end is neither opened nor formatted", async () => {
  const disk = await machine.disk(24);
  const stack = new Stack(machine, "drbd", declared("d", { disk }));
  const magic = Buffer.from("8374026d", "hex");
  scribble(disk, 24 * MIB - 4096 + 60, magic);
  await expect(stack.provision()).rejects.toMatchObject({ code: "device-missing" });
  const run = new StateRun(machine.host, machine.directory, { "secret:d": machineKey() });
  await expect(run.apply("luks.formatted", { name: disk, key: "secret:d" })).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringContaining("DRBD") as string,
  });
  scribble(disk, 24 * MIB - 4096 + 60, Buffer.alloc(4));
  await stack.provision();
  await stack.stop();
  scribble(disk, 24 * MIB - 4096 + 60, magic);
  await expect(stack.start()).rejects.toMatchObject({ message: expect.stringContaining("DRBD") as string });
});

test("I2: a disk or loop file that became smaller is not taken for the one that was provisioned", async () => {
  const disk = await machine.disk(24);
  const plain = new Stack(machine, "small", declared("s", { disk }));
  const file = `${machine.directory}/file.img`;
  const loop = new Stack(machine, "loop", declared("l", { loop: { file, size: "24M" } }));
  for (const stack of [plain, loop]) {
    await stack.provision();
    await stack.stop();
  }
  const backing = (await machine.sh("losetup", "--noheadings", "--output", "BACK-FILE", disk)).trim();
  await machine.sh("truncate", "--size=23M", backing, file);
  await machine.sh("losetup", "--set-capacity", disk);
  for (const stack of [plain, loop]) {
    await expect(stack.start()).rejects.toMatchObject({
      code: "device-missing",
      message: expect.stringContaining(`is ${23 * MIB} bytes, of ${24 * MIB}`) as string,
    });
  }
  await machine.sh("truncate", "--size=24M", backing, file);
  await machine.sh("losetup", "--set-capacity", disk);
  for (const stack of [plain, loop]) {
    await stack.start();
    await stack.stop();
  }
});
