import { afterAll, expect, test } from "vitest";
import { hashOf, Machine } from "./support/machine.ts";
import { StateRun } from "./support/state-run.ts";

const machine = new Machine();
const run = new StateRun(machine.host, machine.directory);
const loops: string[] = [];

afterAll(async () => {
  for (const file of loops) {
    const { stdout } = await machine.host.run(["losetup", "--noheadings", "--output=NAME", "--associated", file]);
    for (const device of stdout.split("\n").filter((line) => line !== ""))
      await machine.sh("losetup", "--detach", device.trim());
  }
  await machine.dispose();
});

test("loop.attached makes the file with its space, attaches it once, and keeps what is in it", async () => {
  const file = `${machine.directory}/backing`;
  loops.push(file);
  const wanted = { name: file, size: "4M" };
  expect(await run.test("loop.attached", wanted)).toEqual([
    { field: "file", from: null, to: "4 MiB" },
    { field: "device", from: null, to: "a free loop device" },
  ]);
  expect(await machine.host.stat(file)).toBeUndefined();
  await run.apply("loop.attached", wanted);
  expect(await machine.host.stat(file)).toMatchObject({ size: 4 * 1024 * 1024, mode: 0o600 });
  expect(Number(await machine.sh("stat", "--format=%b", file)) * 512).toBe(4 * 1024 * 1024);
  expect(await run.apply("loop.attached", wanted)).toEqual([]);
  const before = hashOf(file);
  expect(await run.apply("loop.attached", { name: file, size: "2M" })).toEqual([]);
  expect(hashOf(file)).toBe(before);
});

test("loop.attached takes the device that is asked for, and refuses one that has another file", async () => {
  const [first, second] = [machine.file("first", 1), machine.file("second", 1)];
  loops.push(first, second);
  const device = "/dev/loop47";
  await machine.host.run(["mknod", device, "b", "7", "47"], { okCodes: [0, 1] });
  await run.apply("loop.attached", { name: first, device });
  expect(await run.apply("loop.attached", { name: first, device })).toEqual([]);
  await expect(run.apply("loop.attached", { name: second, device })).rejects.toMatchObject({ code: "wrong-device" });
  await expect(run.apply("loop.attached", { name: `${machine.directory}/none` })).rejects.toMatchObject({
    code: "device-missing",
  });
});

test("a disk that is full leaves no half-made loop file behind", async () => {
  const small = machine.makeDirectory("small");
  await machine.sh("mount", "-t", "tmpfs", "-o", "size=2M,mode=0755", "small", small);
  await expect(run.apply("loop.attached", { name: `${small}/big`, size: "64M" })).rejects.toMatchObject({
    code: "command-failed",
    message: expect.stringContaining("No space left on device") as string,
  });
  expect(await machine.host.readDirectory(small)).toEqual([]);
});

test("mount.mounted: options that show are put right without an unmount", async () => {
  const device = await machine.disk(8);
  await run.apply("fs.formatted", { name: device, fstype: "ext4" });
  const name = `${machine.directory}/point`;
  const wanted = { name, device, fstype: "ext4" };
  await expect(run.test("mount.mounted", wanted)).rejects.toMatchObject({ code: "no-mount-point" });
  await run.apply("mount.mounted", { ...wanted, mkmnt: true, opts: ["noatime", "nodev"] });
  expect(await run.apply("mount.mounted", { ...wanted, opts: "noatime,nodev" })).toEqual([]);
  expect(await run.apply("mount.mounted", { ...wanted, opts: "ro,nodev" })).toMatchObject([{ field: "opts" }]);
  expect(await run.apply("mount.mounted", { ...wanted, opts: "ro,nodev" })).toEqual([]);
  const elsewhere = { ...wanted, name: machine.makeDirectory("elsewhere") };
  await expect(run.test("mount.mounted", elsewhere)).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringContaining(`is mounted on "${name}"`) as string,
  });
});

test("mount.mounted writes fstab only when asked, with noauto and nofail", async () => {
  const device = await machine.disk(8);
  await run.apply("fs.formatted", { name: device, fstype: "ext4" });
  let fstab = Buffer.from("# mine\n/dev/sda1 / ext4 defaults 0 1\n");
  const host = {
    ...machine.host,
    readFile: (path: string) => (path === "/etc/fstab" ? Promise.resolve(fstab) : machine.host.readFile(path)),
    writeFile: (...[path, data, options]: Parameters<typeof machine.host.writeFile>) => {
      if (path !== "/etc/fstab") return machine.host.writeFile(path, data, options);
      fstab = Buffer.from(data);
      return Promise.resolve();
    },
  };
  const kept = new StateRun(host, machine.directory);
  const wanted = { name: `${machine.directory}/a place`, device, fstype: "ext4", mkmnt: true };
  await kept.apply("mount.mounted", wanted);
  expect(fstab.toString()).not.toContain(device);
  expect(await kept.apply("mount.mounted", { ...wanted, persist: true })).toMatchObject([{ field: "fstab" }]);
  expect(fstab.toString()).toBe(
    `# mine\n/dev/sda1 / ext4 defaults 0 1\n${device} ${machine.directory}/a\\040place ext4 defaults,noauto,nofail 0 0\n`,
  );
  expect(await kept.apply("mount.mounted", { ...wanted, persist: true })).toEqual([]);
});
