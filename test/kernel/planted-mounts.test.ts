import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Host } from "../../src/core/host.ts";
import { readMounts } from "../../src/states/devices/mount-table.ts";
import { Machine } from "./support/machine.ts";
import { StateRun } from "./support/state-run.ts";

const NOBODY = 65_534;
const machine = new Machine();
const run = new StateRun(machine.host, machine.directory);
const home = `${machine.directory}/home`;
const safe = `${machine.directory}/safe`;
let device: string;
let other: string;

beforeAll(async () => {
  chmodSync(machine.directory, 0o755);
  for (const path of [home, safe]) mkdirSync(path);
  chownSync(home, NOBODY, NOBODY);
  [device, other] = [await machine.disk(8), await machine.disk(8)];
  for (const name of [device, other]) await run.apply("fs.formatted", { name, fstype: "ext4" });
});
afterAll(() => machine.dispose());

const wanted = (name: string) => ({ name, device, fstype: "ext4", mkmnt: true, allow_unsafe_path: true });
const mountedAt = async () =>
  (await readMounts(machine.host))
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path.startsWith(machine.directory));

/** The real host, on which something happens between the look and this command. */
function meanwhile(program: string, act: () => void): StateRun {
  const host: Host = {
    ...machine.host,
    run: (argv, options) => {
      if (argv[0] === program) act();
      return machine.host.run(argv, options);
    },
  };
  return new StateRun(host, machine.directory);
}

test("a mount point in another user's directory is refused unless it is meant, and works then", async () => {
  const params = wanted(`${home}/deep/data`);
  await expect(run.test("mount.mounted", { ...params, allow_unsafe_path: false })).rejects.toMatchObject({
    code: "unsafe-path",
    message: `cannot use "${params.name}": "${home}" belongs to user "nobody"`,
  });
  await run.apply("mount.mounted", params);
  expect(await run.apply("mount.mounted", params)).toEqual([]);
  expect(await run.apply("mount.mounted", { ...params, opts: "nodev" })).toMatchObject([{ field: "opts" }]);
  expect(await mountedAt()).toEqual([params.name]);
  await run.apply("mount.unmounted", { name: params.name, device });
  expect(await run.apply("mount.unmounted", { name: params.name, device })).toEqual([]);
  expect(await mountedAt()).toEqual([]);
});

test("nothing is mounted where a planted link leads, nor unmounted there", async () => {
  symlinkSync("../safe", `${home}/link`);
  await expect(run.apply("mount.mounted", wanted(`${home}/link`))).rejects.toMatchObject({ code: "unsafe-link" });
  await expect(run.apply("mount.mounted", wanted(`${home}/link/in`))).rejects.toMatchObject({ code: "unsafe-link" });
  await run.apply("mount.mounted", wanted(safe));
  await expect(run.apply("mount.unmounted", { name: `${home}/link` })).rejects.toMatchObject({ code: "unsafe-link" });
  expect(await mountedAt()).toEqual([safe]);
  await run.apply("mount.unmounted", { name: safe });
});

test("a link that takes the mount point's name just before mount(8) runs leads nowhere", async () => {
  const name = `${home}/swapped`;
  const swap = () => {
    renameSync(name, `${home}/aside`);
    symlinkSync("../safe", name);
  };
  await expect(meanwhile("mount", swap).apply("mount.mounted", wanted(name))).rejects.toMatchObject({
    code: "mount-moved",
    message: expect.stringContaining(`it became ${device} on "${home}/aside"`) as string,
  });
  expect(await mountedAt()).toEqual([]);
});

test("a link that takes the mount point's name just before umount(8) runs is told of, with what it unmounted", async () => {
  const name = `${home}/kept`;
  await run.apply("mount.mounted", wanted(name));
  await run.apply("mount.mounted", { ...wanted(safe), device: other });
  // what the kernel forbids where the mount is seen, it allows where it is not
  const swap = `umount "${name}" && mv "${name}" "${home}/away" && ln -s ../safe "${name}"`;
  const act = () => void execFileSync("unshare", ["-m", "--propagation", "private", "sh", "-c", swap]);
  await expect(meanwhile("umount", act).apply("mount.unmounted", { name, device })).rejects.toMatchObject({
    code: "unmount-moved",
    message: `cannot unmount "${name}": it is on "${home}/away", and ${other} on "${safe}" went`,
  });
  expect(await mountedAt()).toEqual([`${home}/away`]);
  await run.apply("mount.unmounted", { name: `${home}/away` });
});

test("a device whose name leads to another just before mount(8) runs is unmounted again", async () => {
  const alias = `${machine.directory}/alias`;
  symlinkSync(device, alias);
  const swap = () => {
    rmSync(alias);
    symlinkSync(other, alias);
  };
  const params = { ...wanted(safe), device: alias, allow_unsafe_path: false };
  const before = await mountedAt();
  await expect(meanwhile("mount", swap).apply("mount.mounted", params)).rejects.toMatchObject({
    code: "mount-moved",
    message: expect.stringContaining(`it became ${other} on "${safe}"`) as string,
  });
  expect(await mountedAt()).toEqual(before);
});
