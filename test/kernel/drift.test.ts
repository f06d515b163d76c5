import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { inspectVolume } from "../../src/minion/volume/inspect.ts";
import { destroy } from "../../src/states/volume/destroy.ts";
import { Machine } from "./support/machine.ts";
import { Stack } from "./support/stack.ts";
import { machineKey } from "./support/state-run.ts";

const machine = new Machine();
afterAll(() => machine.dispose());

const above = (name: string) => ({
  luks: { key: `secret:${name}`, name: machine.name(name) },
  fs: { type: "ext4", label: "ours" },
  mount: { point: `${machine.directory}/${name}` },
});

test("what people changed by hand costs no boot: a larger logical volume and another label come up as they are", async () => {
  const vg = machine.name("vg");
  const disk = await machine.disk(96);
  const stack = new Stack(machine, "data", { disk, lvm: { vg, size: "32M" }, ...above("h"), dependents: ["db"] });
  await stack.provision();
  await machine.sh("lvextend", "-q", "-L", "64M", `${vg}/data`);
  await machine.sh("e2label", `/dev/mapper/${machine.name("h")}`, "theirs");
  await stack.stop();
  await stack.start();
  expect(stack.services.running).toEqual(["db"]);
  expect(stack.notes).toContainEqual(expect.stringContaining('labelled "theirs", not "ours"'));
  await stack.stop();
  // told in the end, with everything up
  await expect(stack.provision()).rejects.toMatchObject({ code: "cannot-shrink" });
  expect(stack.services.running).toEqual(["db"]);
  await stack.stop();
  const changes = await destroy(stack.context(), { killHolders: false, force: false });
  expect(Object.keys(changes)).toContain("logical volume");
});

test("the same of a volume that nothing mounts: it stays open", async () => {
  const vg = machine.name("vgo");
  const { luks } = above("o");
  const stack = new Stack(machine, "data", { disk: await machine.disk(64), lvm: { vg, size: "24M" }, luks });
  await stack.provision();
  await machine.sh("lvextend", "-q", "-L", "32M", `${vg}/data`);
  await stack.stop();
  await expect(stack.provision()).rejects.toMatchObject({ code: "cannot-shrink" });
  expect(await machine.host.stat(`/dev/mapper/${machine.name("o")}`)).toBeDefined();
  await stack.stop();
});

test("an ext4 that was not unmounted cleanly is mounted, and the return says that a check is due", async () => {
  const stack = new Stack(machine, "j", { disk: await machine.disk(48), ...above("j") });
  await stack.provision();
  await stack.stop({ upTo: "mount" });
  await machine.sh("debugfs", "-w", "-R", "ssv state 0", `/dev/mapper/${machine.name("j")}`);
  await stack.start();
  expect(stack.notes).toContainEqual(expect.stringContaining("e2fsck -f"));
  await stack.stop();
});

test("a disk of 4096-byte sectors that got an odd end: status, growth and start say that it cannot be mapped", async () => {
  const disk = await machine.disk(64);
  const part = machine.name("part");
  const table = (sectors: number): string => `0 ${sectors} linear ${disk} 0`;
  await machine.shWith(Buffer.from(table(65_536)), "dmsetup", "create", part);
  const path = `/dev/mapper/${part}`;
  const key = machineKey();
  const sized = ["--sector-size", "4096", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  await machine.shWith(key.bytes, "cryptsetup", "luksFormat", "-q", ...sized, "--key-file=-", path);
  const stack = new Stack(machine, "e", { disk: path, luks: above("e").luks }, key);
  await stack.start();
  await machine.shWith(Buffer.from(table(131_001)), "dmsetup", "load", part);
  await machine.sh("dmsetup", "resume", part);
  const machineOf = { clock: systemClock, config: { stateDir: machine.directory } };
  const { report } = await inspectVolume({ host: machine.host, volume: stack.volume, machine: machineOf });
  const text = expect.stringContaining("no multiple of the 4096-byte sectors") as string;
  expect(report.problems).toContainEqual({ code: "device-misaligned", text, fatal: true });
  await expect(stack.provision()).rejects.toMatchObject({ code: "device-misaligned", message: text });
  await stack.stop();
  await expect(stack.start()).rejects.toMatchObject({ code: "device-misaligned", message: text });
});
