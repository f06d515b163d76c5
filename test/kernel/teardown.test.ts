import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findLoop } from "../../src/states/devices/loop-device.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const run = new StateRun(machine.host, machine.directory, { "secret:password": machineKey() });
const file = `${machine.directory}/backing`;
const vg = machine.name("vg");
const device = `/dev/${vg}/da-ta`;
const mapping = machine.name("open");
const point = `${machine.directory}/point`;
let loop = "";

beforeAll(async () => {
  await run.apply("loop.attached", { name: file, size: "24M", sparse: true });
  loop = (await findLoop(machine.host, file)) ?? "";
  await up();
  await machine.host.writeFile(`${point}/precious`, Buffer.from("row 1"), { mode: 0o600 });
});
afterAll(async () => {
  await machine.dispose();
  await machine.host.run(["losetup", "--detach", loop], { okCodes: [0, 1] });
});

async function up(): Promise<void> {
  await run.apply("loop.attached", { name: file });
  await run.apply("lvm.vg_present", { name: vg, devices: loop });
  await run.apply("lvm.lv_present", { name: "da-ta", vgname: vg, size: "100%FREE" });
  await run.apply("luks.formatted", { name: device, key: "secret:password" });
  await run.apply("luks.opened", { name: mapping, device, key: "secret:password" });
  await run.apply("fs.formatted", { name: `/dev/mapper/${mapping}`, fstype: "ext4" });
  await run.apply("mount.mounted", { name: point, device: `/dev/mapper/${mapping}`, fstype: "ext4", mkmnt: true });
}

/** The way down, from the top. */
const down = () =>
  [
    ["mount.unmounted", { name: point, device: `/dev/mapper/${mapping}` }],
    ["luks.closed", { name: mapping, device }],
    ["lvm.lv_inactive", { name: "da-ta", vgname: vg }],
    ["loop.detached", { name: file }],
  ] as const;

test("each layer is refused while the one above is up, with what uses it, and stays up", async () => {
  const [, ...lower] = down();
  const uses = [`is mounted on "${point}"`, `is in use by /dev/mapper/${mapping}`, "is in use by /dev/mapper/"];
  for (const [index, [name, params]] of lower.entries()) {
    await expect(run.test(name, params)).rejects.toMatchObject({
      code: "device-busy",
      message: expect.stringContaining(uses[index] ?? "?") as string,
    });
  }
  await expect(run.test("lvm.lv_absent", { name: "da-ta", vgname: vg })).rejects.toMatchObject({ code: "device-busy" });
});

test("a mount that a process uses stays mounted, and so does one with another mount below", async () => {
  const [unmount] = down();
  const holder = spawn("sleep", ["600"], { cwd: point, stdio: "ignore" });
  await once(holder, "spawn");
  await expect(run.apply(...unmount)).rejects.toMatchObject({ code: "device-busy" });
  holder.kill("SIGKILL");
  await once(holder, "exit");
  await machine.sh("mkdir", `${point}/sub`);
  await machine.sh("mount", "-t", "tmpfs", "none", `${point}/sub`);
  await expect(run.test(...unmount)).rejects.toMatchObject({
    code: "device-busy",
    message: expect.stringContaining(`mounted on "${point}/sub"`) as string,
  });
  await machine.sh("umount", `${point}/sub`);
  expect(await machine.host.stat(`${point}/precious`)).toBeDefined();
});

test("what is another's is refused: a mount, a mapping", async () => {
  const other = await machine.disk(4);
  await expect(run.test("mount.unmounted", { name: point, device: other })).rejects.toMatchObject({
    code: "wrong-device",
  });
  await expect(run.test("luks.closed", { name: mapping, device: other })).rejects.toMatchObject({
    code: "mapping-taken",
    message: expect.stringContaining(`/dev/mapper/`) as string,
  });
  const plain = machine.name("plain");
  await machine.shWith(Buffer.from(`0 2048 linear ${other} 0\n`), "dmsetup", "create", plain);
  await expect(run.test("luks.closed", { name: plain })).rejects.toMatchObject({ code: "mapping-taken" });
  await machine.sh("dmsetup", "remove", plain);
});

test("the way down, each layer with a test mode that says so and does nothing; the second run changes nothing", async () => {
  for (const [name, params] of down()) {
    const predicted = await run.test(name, params);
    expect(predicted).toHaveLength(1);
    expect(await run.test(name, params)).toEqual(predicted);
    expect(await run.apply(name, params)).toEqual(predicted);
    expect(await run.apply(name, params)).toEqual([]);
  }
  expect(await findLoop(machine.host, file)).toBeUndefined();
  for (const [name, params] of down()) expect(await run.apply(name, params)).toEqual([]);
  await up();
  expect((await machine.host.readFile(`${point}/precious`))?.toString("utf8")).toBe("row 1");
  for (const [name, params] of down()) await run.apply(name, params);
});

test("I2: lvm.lv_absent removes what is blank or erased, and nothing else unless it is named", async () => {
  const disk = await machine.disk(64);
  const group = machine.name("vg2");
  const lv = { name: "it", vgname: group };
  const path = `/dev/${group}/it`;
  await run.apply("lvm.vg_present", { name: group, devices: disk });
  const make = () => run.apply("lvm.lv_present", { ...lv, size: "16M" });
  const gone = async () => {
    expect(await run.apply("lvm.lv_absent", lv)).toMatchObject([{ field: "logical volume", to: null }]);
    expect(await run.apply("lvm.lv_absent", lv)).toEqual([]);
  };
  await make();
  await gone();
  await make();
  await run.apply("luks.formatted", { name: path, key: "secret:password" });
  const before = hashOf(path);
  const refused = { code: "wrong-device", message: expect.stringMatching(/cannot remove .* LUKS header/u) as string };
  await expect(run.test("lvm.lv_absent", lv)).rejects.toMatchObject(refused);
  await run.apply("lvm.lv_inactive", lv);
  await expect(run.apply("lvm.lv_absent", lv)).rejects.toMatchObject(refused);
  expect(await run.apply("lvm.lv_inactive", lv)).toEqual([]);
  await make();
  expect(hashOf(path)).toBe(before);
  await machine.sh("cryptsetup", "luksErase", "-q", path);
  await gone();
  await make();
  await machine.sh("wipefs", "--all", "--quiet", path);
  await run.apply("fs.formatted", { name: path, fstype: "ext4" });
  await expect(run.test("lvm.lv_absent", lv)).rejects.toMatchObject({ code: "wrong-device" });
  const uuid = (await machine.sh("blkid", "-p", "-o", "value", "-s", "UUID", path)).trim();
  const wrong = { ...lv, lose: "11111111-2222-3333-4444-555555555555" };
  await expect(run.test("lvm.lv_absent", wrong)).rejects.toMatchObject({ code: "wrong-device" });
  expect(await run.apply("lvm.lv_absent", { ...lv, lose: uuid })).toHaveLength(1);
  expect(await run.test("lvm.lv_absent", { name: "it", vgname: machine.name("none") })).toEqual([]);
});
