import { afterAll, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { bringUp } from "../../src/states/volume/bring-up.ts";
import { forgetVolume, rememberVolume, resolveVolume } from "../../src/states/volume/identity.ts";
import { planStack } from "../../src/states/volume/plan.ts";
import { parseVolume, type VolumeSpec } from "../../src/states/volume/spec.ts";
import { type StackContext, stackContext } from "../../src/states/volume/stack-context.ts";
import { takeDown } from "../../src/states/volume/take-down.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const keys = { "secret:a": machineKey(), "secret:b": machineKey() };
const run = new StateRun(machine.host, machine.directory, keys);
const MIB = 1024 * 1024;
const links: string[] = [];
afterAll(async () => {
  await machine.dispose();
  await machine.sh("rm", "--force", ...links);
});

const contextOf = (volume: VolumeSpec): StackContext => stackContext(run.context, volume);

/** Disks whose names are links (in /dev, where LVM looks): swapping the links is what a boot does that finds disks in another order. */
async function named(name: string, mib: number): Promise<string> {
  const link = `/dev/${machine.name(name)}`;
  links.push(link);
  await machine.sh("ln", "--symbolic", "--force", "--no-target-directory", "--", await machine.disk(mib), link);
  return link;
}
async function swap(a: string, b: string): Promise<void> {
  const [first, second] = [(await machine.host.readLink(a)) ?? "", (await machine.host.readLink(b)) ?? ""];
  await machine.sh("ln", "--symbolic", "--force", "--no-target-directory", "--", second, a);
  await machine.sh("ln", "--symbolic", "--force", "--no-target-directory", "--", first, b);
}

const declare = (name: string, value: Readonly<Record<string, Json>>): VolumeSpec =>
  parseVolume(machine.name(name), {
    fs: { type: "ext4" },
    mount: { point: `${machine.directory}/${name}-point` },
    ...value,
  });
const up = (volume: VolumeSpec) => bringUp(contextOf(volume), { mayFormat: true });
const down = (volume: VolumeSpec) => takeDown(contextOf(volume), { killHolders: false });
const writeRow = (volume: VolumeSpec, row: string) =>
  machine.host.writeFile(`${volume.mount?.point}/row`, Buffer.from(row), { mode: 0o600 });
const rowOf = async (volume: VolumeSpec) =>
  (await machine.host.readFile(`${volume.mount?.point}/row`))?.toString("utf8");

test("two LUKS disks that swapped names: each volume finds its own, says so, and comes up and down", async () => {
  const [sdb, sdc] = [await named("sdb", 24), await named("sdc", 24)];
  const a = declare("a", { disk: sdb, luks: { key: "secret:a" } });
  const b = declare("b", { disk: sdc, luks: { key: "secret:b" } });
  for (const [volume, row] of [
    [a, "a"],
    [b, "b"],
  ] as const) {
    await up(volume);
    await writeRow(volume, row);
    expect(await up(volume)).toEqual({});
  }
  const before = run.notes.length;
  for (const volume of [a, b]) await down(volume);
  await swap(sdb, sdc);
  for (const volume of [a, b]) await up(volume);
  expect([await rowOf(a), await rowOf(b)]).toEqual(["a", "b"]);
  expect(run.notes.slice(before)).toEqual([
    expect.stringMatching(/^data is on \/dev\/loop\d+ now, the pillar says .*sdb$/u),
    expect.stringMatching(/^data is on \/dev\/loop\d+ now, the pillar says .*sdc$/u),
  ]);
  expect(await up(a)).toEqual({});
  for (const volume of [a, b]) expect(Object.keys(await down(volume))).toEqual(["mount", "mapping"]);
  await swap(sdb, sdc);
});

test("physical volumes that swapped names with a blank disk are found by their UUIDs", async () => {
  const disks = [await named("sdd", 24), await named("sde", 24)];
  const spare = await named("sdf", 24);
  const blank = hashOf(spare);
  const volume = declare("lvm", { disk: disks, lvm: { vg: machine.name("vg") }, luks: { key: "secret:a" } });
  await up(volume);
  await writeRow(volume, "lvm");
  await down(volume);
  await swap(disks[0] ?? "", spare);
  await up(volume);
  expect(await rowOf(volume)).toBe("lvm");
  expect(hashOf(disks[0] ?? "")).toBe(blank);
  await down(volume);
  await swap(disks[0] ?? "", spare);
});

test("I2: I3: a blank device in place of a known one is never formatted", async () => {
  const sdg = await named("sdg", 24);
  const volume = declare("blank", { disk: sdg, luks: { key: "secret:a" } });
  await up(volume);
  await down(volume);
  const device = (await machine.host.readLink(sdg)) ?? "";
  const start = (await machine.host.readRange(device, 0, 24 * MIB)) ?? Buffer.alloc(0);
  await machine.sh("dd", "if=/dev/zero", `of=${device}`, "bs=1M", "count=24", "status=none");
  const refused = {
    code: "wrong-device",
    message: expect.stringMatching(/was provisioned with LUKS UUID [0-9a-f-]{36}, and .* is blank/u) as string,
    hint: expect.stringContaining("volume unprovision") as string,
  };
  const before = hashOf(device);
  await expect(up(volume)).rejects.toMatchObject(refused);
  // also by the single states, were they asked
  const format = { name: sdg, key: "secret:a", volume: volume.name };
  await expect(run.apply("luks.formatted", format)).rejects.toMatchObject(refused);
  await expect(run.apply("fs.formatted", { name: sdg, fstype: "ext4", volume: volume.name })).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringContaining("file system UUID") as string,
  });
  expect(hashOf(device)).toBe(before);
  const { refusal } = await planStack(contextOf(volume), volume);
  expect(refusal).toMatchObject({ code: "wrong-device" });
  await machine.host.writeFile(`${machine.directory}/saved`, start, { mode: 0o600 });
  await machine.sh("dd", `if=${machine.directory}/saved`, `of=${device}`, "bs=1M", "status=none");
  await up(volume);
  await down(volume);
});

test("I2: another's LUKS, a lost disk and two copies are refused with what was found", async () => {
  const [sdh, sdi] = [await named("sdh", 24), await named("sdi", 24)];
  const volume = declare("h", { disk: sdh, luks: { key: "secret:a" } });
  await up(volume);
  await down(volume);
  await run.apply("luks.formatted", { name: sdi, key: "secret:b" });
  const device = (await machine.host.readLink(sdh)) ?? "";
  const other = (await machine.host.readLink(sdi)) ?? "";
  await machine.sh("rm", sdh);
  await up(volume);
  await down(volume);
  // the disk goes: what is there now is somebody's LUKS
  const start = (await machine.host.readRange(device, 0, 24 * MIB)) ?? Buffer.alloc(0);
  await machine.host.writeFile(`${machine.directory}/saved`, start, { mode: 0o600 });
  await machine.sh("dd", "if=/dev/zero", `of=${device}`, "bs=1M", "count=24", "status=none");
  await expect(up(volume)).rejects.toMatchObject({
    code: "device-missing",
    message: expect.stringContaining(`there is nothing at "${sdh}"`) as string,
  });
  await machine.sh("ln", "--symbolic", "--", other, sdh);
  const before = hashOf(other);
  await expect(up(volume)).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringMatching(/was provisioned with LUKS UUID .* has a LUKS header/u) as string,
  });
  expect(hashOf(other)).toBe(before);
  for (const path of [device, await machine.disk(24)])
    await machine.sh("dd", `if=${machine.directory}/saved`, `of=${path}`, "bs=1M", "status=none");
  await expect(resolveVolume(contextOf(volume))).rejects.toMatchObject({ code: "ambiguous-device" });
});

test("I2: a loop file that is gone is not made anew; a volume that was forgotten is", async () => {
  const file = `${machine.directory}/backing`;
  const loop = { file, size: "24M", sparse: true };
  const volume = declare("loop", { loop, luks: { key: "secret:a" } });
  await up(volume);
  await down(volume);
  await machine.sh("rm", file);
  await expect(up(volume)).rejects.toMatchObject({ code: "device-missing" });
  expect(await machine.host.stat(file)).toBeUndefined();
  await forgetVolume(run.context, volume);
  await up(volume);
  await rememberVolume(contextOf(volume));
  await down(volume);
});
