import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { Stack } from "./support/stack.ts";

const machine = new Machine();
afterAll(() => machine.dispose());

/** The stacks, each with what provisioning makes, what a start of it costs, and what stopping it takes down. */
interface Kind {
  readonly title: string;
  readonly declare: () => Promise<Json>;
  readonly made: readonly string[];
  readonly startCommands: readonly string[];
  readonly down: readonly string[];
}

const disks: Record<string, string> = {};
const name = (suffix: string) => machine.name(suffix);
const mount = (suffix: string) => ({ point: `${machine.directory}/${suffix}`, options: ["noatime"], mode: "0750" });
const luks = { key: "secret:k" };

const kinds: readonly Kind[] = [
  {
    title: "loop > LUKS > ext4",
    declare: async () => ({
      loop: { file: `${machine.directory}/a.img`, size: "24M", sparse: true },
      luks: { ...luks, name: name("a") },
      fs: { type: "ext4", label: "a" },
      mount: mount("a"),
      dependents: ["svc1", "svc2"],
    }),
    made: ["loop device file", "loop device", "LUKS header", "mapping", "file system", "mount", "directory mode"],
    startCommands: ["dependents: systemctl", "loop: losetup", "luks: cryptsetup", "luks: dmsetup", "mount: mount"],
    down: ["dependent svc2", "dependent svc1", "mount", "mapping", "loop device"],
  },
  {
    title: "disk > LVM > LUKS > xfs",
    declare: async () => ({
      disk: (disks["b"] = await machine.disk(340)),
      lvm: { vg: name("vgb"), lv: "data-1" },
      luks: { ...luks, name: name("b") },
      fs: { type: "xfs", label: "b" },
      mount: mount("b"),
    }),
    made: [
      "physical volume",
      "volume group",
      "logical volume",
      "LUKS header",
      "mapping",
      "file system",
      "mount",
      "directory mode",
    ],
    startCommands: ["lv: lvchange", "luks: cryptsetup", "luks: dmsetup", "mount: mount"],
    down: ["mount", "mapping", "logical volume"],
  },
  {
    title: "two PVs > LV > LUKS > btrfs",
    declare: async () => ({
      disk: [await machine.disk(100), await machine.disk(100)],
      lvm: { vg: name("vgc") },
      luks: { ...luks, name: name("c"), keyslots_size: "4M" },
      fs: { type: "btrfs", label: "c" },
      mount: mount("c"),
    }),
    made: [
      "physical volume",
      "physical volume",
      "volume group",
      "logical volume",
      "LUKS header",
      "mapping",
      "file system",
      "mount",
      "directory mode",
    ],
    startCommands: ["lv: lvchange", "luks: cryptsetup", "luks: dmsetup", "mount: mount"],
    down: ["mount", "mapping", "logical volume"],
  },
  {
    title: "plain disk > LUKS > ext4, no LVM",
    declare: async () => ({
      disk: await machine.disk(24),
      luks: { ...luks, name: name("d") },
      fs: { type: "ext4" },
      mount: mount("d"),
    }),
    made: ["LUKS header", "mapping", "file system", "mount", "directory mode"],
    startCommands: ["luks: cryptsetup", "luks: dmsetup", "mount: mount"],
    down: ["mount", "mapping"],
  },
];

describe.each(kinds)("$title", ({ declare, made, startCommands, down }) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = new Stack(machine, "data", await declare());
  });

  test("start makes nothing: it says what is not there", async () => {
    await expect(stack.start()).rejects.toMatchObject({ code: "not-provisioned" });
    expect(stack.commands.filter((command) => !/blkid|wipefs|systemctl/u.test(command))).toEqual([]);
  });

  test("plan foretells every layer and writes nothing", async () => {
    const [disk] = stack.volume.disks;
    const look = () => (disk === undefined ? "" : hashOf(disk));
    const before = look();
    const { steps, refusal } = await stack.plan();
    expect(refusal).toBeUndefined();
    expect(steps[0]).toMatchObject({ destructive: true, seen: true });
    expect(steps.slice(1).some(({ seen }) => !seen)).toBe(true);
    expect(look()).toBe(before);
  });

  test("provision builds it all, and the second run changes nothing", async () => {
    const changes = await stack.provision();
    const layers = Object.keys(changes).filter((key) => !key.startsWith("dependent"));
    expect(layers.map((key) => key.replace(/ \/dev\/loop\d+$/u, ""))).toEqual(made);
    expect(stack.services.running).toEqual(stack.volume.dependents);
    await machine.host.writeFile(`${stack.mountPoint}/precious`, Buffer.from("row 1"), { mode: 0o600 });
    expect(await stack.provision()).toEqual({});
    expect(stack.commands.filter((command) => !command.includes("systemctl"))).toEqual([]);
    expect((await stack.plan()).steps).toEqual([]);
    expect((await machine.host.stat(stack.mountPoint))?.mode).toBe(0o750);
  });

  test("stop takes it down from the top, and a second stop does nothing", async () => {
    const changes = await stack.stop();
    expect(Object.keys(changes)).toEqual(down);
    expect(stack.services.running).toEqual([]);
    expect(await stack.stop()).toEqual({});
  });

  test("plan of a volume that is down says what would be brought up, and no format", async () => {
    const { steps, refusal } = await stack.plan();
    expect(refusal).toBeUndefined();
    expect(steps.filter(({ destructive }) => destructive)).toEqual([]);
  });

  test("start brings it up again with as few processes as there can be, and the data is there", async () => {
    const changes = await stack.start();
    expect(stack.commands.filter((command) => !command.startsWith("dependents"))).toEqual(
      startCommands.filter((command) => !command.startsWith("dependents")),
    );
    expect(Object.values(changes).length).toBeGreaterThan(0);
    expect((await machine.host.readFile(`${stack.mountPoint}/precious`))?.toString("utf8")).toBe("row 1");
    expect(stack.services.running).toEqual(stack.volume.dependents);
    await stack.stop();
  });
});
