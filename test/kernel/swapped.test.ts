import { randomBytes } from "node:crypto";
import { rmSync, truncateSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import type { Host } from "../../src/core/host.ts";
import type { Json } from "../../src/core/json.ts";
import { Secret } from "../../src/core/secret.ts";
import { addKeyslot, killKeyslot, MACHINE_KDF, setPriority } from "../../src/minion/volume/keyslots.ts";
import { requireLuks2, withLuksDevice } from "../../src/minion/volume/luks-device.ts";
import type { VolumeContext } from "../../src/minion/volume/runner.ts";
import { keyOpens } from "../../src/states/devices/luks-passphrase.ts";
import { adoptToken } from "../../src/states/devices/luks-token.ts";
import { findVolumeGroup } from "../../src/states/devices/lvm-scan.ts";
import { STATES } from "../../src/states/registry.ts";
import type { ApplyContext } from "../../src/states/state.ts";
import { destroy } from "../../src/states/volume/destroy.ts";
import { growVolume } from "../../src/states/volume/grow.ts";
import { resource } from "../../src/states/volume/parts.ts";
import { stackContext } from "../../src/states/volume/stack-context.ts";
import { atCommand } from "./support/at-command.ts";
import { declared } from "./support/declared.ts";
import { hashOf, Machine, scribble } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";
import { volumeContext } from "./support/volume-context.ts";

const machine = new Machine();
const [mine, another] = [machineKey(), machineKey()];
const run = new StateRun(machine.host, machine.directory, { "secret:mine": mine, "secret:another": another });
const links: string[] = [];
afterAll(async () => {
  await machine.dispose();
  for (const link of links) rmSync(link, { force: true });
});

const swapped = (ending: RegExp) => ({
  code: "device-swapped",
  message: expect.stringMatching(
    new RegExp(`it was .*\\d+:\\d+ \\(.*and is .*\\d+:\\d+ \\(.*now; .*${ending.source}`, "u"),
  ) as string,
});

/** A link to one disk, which leads to the other one from the call of `swap` on. */
async function linkTo(disk: string, other: string) {
  const path = `/dev/${machine.name(randomBytes(3).toString("hex"))}`;
  links.push(path);
  const lead = async (target: string) => {
    await machine.sh("ln", "--symbolic", "--force", "--no-target-directory", "--", target, path);
  };
  await lead(disk);
  return { path, swap: () => lead(other) };
}

/** A disk with data on it that no signature tells of: nothing but its identity protects it. */
async function precious(mib: number): Promise<string> {
  const path = await machine.disk(mib);
  for (const offset of [0, 4096, 65_536, 1_048_576, 4_194_304]) scribble(path, offset, randomBytes(4096));
  return path;
}

const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--luks2-keyslots-size", "1m"] as const;
async function luksDisk(key: Buffer): Promise<string> {
  const path = await machine.disk(20);
  await machine.shWith(key, "cryptsetup", "luksFormat", "-q", ...KDF, "--key-file=-", path);
  return path;
}

/** Where the path comes to mean another device: between check and apply, between the last look and the act, or in the act. */
type Moment = "checked" | "noted" | "acting";
const KEPT = { checked: /nothing was changed/u, noted: /was not run/u, acting: /was run on what it was/u } as const;

async function applySwapping(
  name: string,
  params: Readonly<Record<string, Json>>,
  program: string,
  moment: Moment,
  swap: () => Promise<void>,
): Promise<void> {
  const found = STATES.find((state) => state.name === name);
  if (found === undefined) throw new Error(`no state ${name}`);
  const { check, apply, params: schema } = resource(found);
  const wanted = schema.parse(params);
  const host = atCommand(machine.host, moment === "acting" ? [program] : ["no command"], swap);
  const context: ApplyContext = {
    ...run.context,
    host,
    begin: async (key, note) => {
      await run.context.begin(key, note);
      if (moment === "noted") await swap();
    },
  };
  const changes = await check(wanted, context);
  if (moment === "checked") await swap();
  await apply(wanted, context, changes);
}

interface Format {
  readonly program: string;
  readonly mib: number;
  readonly params: (path: string) => Readonly<Record<string, Json>>;
}
const FORMATS: Readonly<Record<string, Format>> = {
  "luks.formatted": { program: "cryptsetup", mib: 20, params: (name) => ({ name, key: "secret:mine" }) },
  "fs.formatted ext4": { program: "mkfs.ext4", mib: 20, params: (name) => ({ name, fstype: "ext4" }) },
  "fs.formatted xfs": { program: "mkfs.xfs", mib: 320, params: (name) => ({ name, fstype: "xfs" }) },
  "fs.formatted btrfs": { program: "mkfs.btrfs", mib: 120, params: (name) => ({ name, fstype: "btrfs" }) },
  "lvm.pv_present": { program: "pvcreate", mib: 20, params: (name) => ({ name }) },
  "lvm.vg_present": { program: "pvcreate", mib: 20, params: (path) => ({ name: machine.name("v"), devices: [path] }) },
};

const MOMENTS: Readonly<Record<string, readonly Moment[]>> = {
  "luks.formatted": ["checked", "noted", "acting"],
  "fs.formatted ext4": ["checked", "noted", "acting"],
  "fs.formatted xfs": ["acting"],
  "fs.formatted btrfs": ["acting"],
  "lvm.pv_present": ["noted", "acting"],
  "lvm.vg_present": ["checked", "acting"],
};

describe.each(Object.keys(FORMATS))("I2: a path that leads to another disk during %s", (name) => {
  test.each(MOMENTS[name] ?? [])("(%s): the other disk stays as it is, and the error names both", async (moment) => {
    const { program, mib, params } = FORMATS[name] as Format;
    const [disk, other] = [await machine.disk(mib), await precious(mib)];
    const { path, swap } = await linkTo(disk, other);
    const before = [hashOf(disk), hashOf(other)];
    const applied = applySwapping(name.split(" ")[0] ?? "", params(path), program, moment, swap);
    await expect(applied).rejects.toMatchObject(swapped(KEPT[moment]));
    expect(hashOf(other)).toBe(before[1]);
    // what is refused before the act leaves both as they are
    expect(hashOf(disk) === before[0]).toBe(moment !== "acting");
    expect(run.secrets.every(({ wiped }) => wiped)).toBe(true);
  });
});

describe("a loop device that gets another file under its number", () => {
  async function exchange(path: string, file: string): Promise<boolean> {
    await machine.sh("losetup", "--detach", path);
    return (await machine.host.run(["losetup", "--", path, file], { okCodes: [0, 1] })).exitCode === 0;
  }

  test("between check and apply it is refused by the kernel's count of disks", async () => {
    const path = await machine.disk(20);
    const file = machine.file("second", 20);
    const applied = applySwapping("luks.formatted", { name: path, key: "secret:mine" }, "", "checked", async () => {
      expect(await exchange(path, file)).toBe(true);
      scribble(path, 1_048_576, randomBytes(4096));
    });
    await expect(applied).rejects.toMatchObject(swapped(/nothing was changed/u));
    expect((await machine.host.readRange(path, 0, 4096))?.equals(Buffer.alloc(4096))).toBe(true);
  });

  test("from the look to the act it gets none: it is held, and what was looked at is formatted", async () => {
    const path = await machine.disk(20);
    const file = machine.file("third", 20);
    await applySwapping("luks.formatted", { name: path, key: "secret:mine" }, "cryptsetup", "acting", async () => {
      expect(await exchange(path, file)).toBe(false);
    });
    expect((await machine.host.readFile(file))?.equals(Buffer.alloc(20 * 1024 * 1024))).toBe(true);
  });
});

describe("the header of a LUKS disk whose name goes to another one", () => {
  const acts: Readonly<
    Record<string, readonly [readonly string[], (context: VolumeContext, path: string) => unknown]>
  > = {
    luksAddKey: [
      ["luksAddKey"],
      async (context, path) => {
        using opens = Secret.take(Buffer.from(mine.bytes));
        using added = Secret.take(Buffer.from(another.bytes));
        await addKeyslot(context, path, { opens, added }, { slot: 2, kdf: MACHINE_KDF });
      },
    ],
    luksKillSlot: [
      ["luksKillSlot"],
      async (context, path) => {
        using key = Secret.take(Buffer.from(mine.bytes));
        await killKeyslot(context, path, key, 1);
      },
    ],
    "config --priority": [
      ["config"],
      async (context, path) => setPriority(context, path, await requireLuks2(context, path), 0, "prefer"),
    ],
    "token import": [
      ["token", "import"],
      async (context, path) => adoptToken(context, path, { slot: 0, version: 1 }, { volume: "x", made: 1 }),
    ],
    "open --test-passphrase": [
      ["--test-passphrase"],
      async (context, path) => {
        using key = Secret.take(Buffer.from(mine.bytes));
        await keyOpens(context, path, key);
      },
    ],
  };

  test.each(Object.keys(acts))("%s: the other header stays as it is", async (name) => {
    const [words = [], act] = acts[name] ?? [];
    const [disk, other] = [await luksDisk(mine.bytes), await luksDisk(mine.bytes)];
    for (const path of [disk, other]) {
      const keys = [`--key-file=-`, "--keyfile-size=32", "--new-keyfile=-", "--new-keyfile-size=32"];
      const added = Buffer.concat([mine.bytes, randomBytes(32)]);
      await machine.shWith(added, "cryptsetup", "luksAddKey", "-q", ...keys, ...MACHINE_KDF, "--new-key-slot=1", path);
    }
    const { path, swap } = await linkTo(disk, other);
    const before = hashOf(other);
    const volume = declared("x", { disk: path, luks: { key: "secret:mine" } });
    const context = { ...volumeContext(run, volume, machine.directory), host: atCommand(machine.host, words, swap) };
    const on: VolumeContext = { ...context, at: () => on };
    const acting = withLuksDevice(on, async (device, held) => act?.(held, device.path));
    await expect(acting).rejects.toMatchObject(swapped(/cryptsetup was run on what it was/u));
    expect(hashOf(other)).toBe(before);
  });
});

describe("unprovision of a disk whose name goes to another one", () => {
  const commands = { "cryptsetup erase": ["cryptsetup", "erase"], "wipefs --all": ["wipefs", "--all"] } as const;

  test.each(Object.keys(commands) as (keyof typeof commands)[])("during %s: the other disk stays", async (name) => {
    const [disk, other] = [await luksDisk(mine.bytes), await luksDisk(another.bytes)];
    const { path, swap } = await linkTo(disk, other);
    const before = hashOf(other);
    const volume = declared(machine.name(`gone-${name.slice(0, 4)}`), { disk: path, luks: { key: "secret:mine" } });
    const host = atCommand(machine.host, commands[name], swap);
    const removed = destroy(stackContext({ ...run.context, host }, volume), { killHolders: false, force: false });
    await expect(removed).rejects.toMatchObject(swapped(/was run on what it was/u));
    expect(hashOf(other)).toBe(before);
  });

  test("while it is stopped: neither disk is touched", async () => {
    const [disk, other] = [await luksDisk(mine.bytes), await luksDisk(another.bytes)];
    const { path, swap } = await linkTo(disk, other);
    const before = [hashOf(disk), hashOf(other)];
    const volume = declared(machine.name("still"), { disk: path, luks: { key: "secret:mine" } });
    const reached: ApplyContext["reached"] = (step) => {
      if (step === "unprovision:stopped") swaps.push(swap());
    };
    const swaps: Promise<void>[] = [];
    const forget = { escrowedUuid: async () => "", forgetKey: async () => "" };
    const context = stackContext({ ...run.context, ...forget, reached }, volume);
    const host: Host = { ...context.host, stat: async (at) => Promise.all(swaps).then(() => machine.host.stat(at)) };
    const removed = destroy(
      { ...context, host, at: () => ({ ...context, host }) },
      { killHolders: false, force: false },
    );
    await expect(removed).rejects.toMatchObject({ code: "device-swapped" });
    expect([hashOf(disk), hashOf(other)]).toEqual(before);
  });
});

describe("growth on a disk whose name goes to another one", () => {
  async function bigger(prepare: (path: string) => Promise<unknown>): Promise<string> {
    const path = await machine.disk(20);
    await prepare(path);
    truncateSync((await machine.sh("losetup", "--noheadings", "--output", "BACK-FILE", path)).trim(), 40 * 1024 * 1024);
    await machine.sh("losetup", "--set-capacity", path);
    return path;
  }

  test.each(["e2fsck", "resize2fs"])("during %s: the other file system stays", async (program) => {
    const mkfs = (path: string) => machine.sh("mkfs.ext4", "-q", path);
    const [disk, other] = [await bigger(mkfs), await bigger(mkfs)];
    const { path, swap } = await linkTo(disk, other);
    const before = hashOf(other);
    const host = atCommand(machine.host, [program], swap);
    const volume = declared(machine.name("grows"), { disk: path, fs: { type: "ext4" } });
    const grown = growVolume(stackContext({ ...run.context, host }, volume));
    await expect(grown).rejects.toMatchObject(swapped(/was run on what it was/u));
    expect(hashOf(other)).toBe(before);
  });

  test("during pvresize: the other physical volume stays", async () => {
    const [vg, foreign] = [machine.name("g1"), machine.name("g2")];
    const make = (group: string) => async (path: string) => {
      await machine.sh("pvcreate", "--quiet", path);
      await machine.sh("vgcreate", "--quiet", group, path);
    };
    const [disk, other] = [await bigger(make(vg)), await bigger(make(foreign))];
    await machine.sh("lvcreate", "--quiet", "--name", "lv", "--extents", "100%FREE", vg);
    const { path, swap } = await linkTo(disk, other);
    const before = hashOf(other);
    const host = atCommand(machine.host, ["pvresize"], swap);
    const volume = declared(machine.name("pvs"), { disk: path, lvm: { vg, lv: "lv" } });
    const grown = growVolume(stackContext({ ...run.context, host }, volume));
    await expect(grown).rejects.toMatchObject(swapped(/was run on what it was/u));
    expect(hashOf(other)).toBe(before);
  });
});

describe("LVM's names", () => {
  async function group(suffix: string): Promise<{ readonly vg: string; readonly disk: string }> {
    const [vg, disk] = [machine.name(suffix), await machine.disk(40)];
    await machine.sh("pvcreate", "--quiet", disk);
    await machine.sh("vgcreate", "--quiet", vg, disk);
    return { vg, disk };
  }
  const lvcreate = (vg: string) => machine.sh("lvcreate", "-qq", "-W", "n", "-Z", "n", "-n", "lv", "-L", "8M", vg);
  async function anew(vg: string): Promise<void> {
    await machine.sh("lvremove", "--quiet", "--yes", `${vg}/lv`);
    await lvcreate(vg);
    scribble(`/dev/${vg}/lv`, 1_048_576, randomBytes(4096));
  }

  test.each(["checked", "acting"] as const)("(%s) a volume that was made anew under the name stays", async (moment) => {
    const { vg } = await group(`r${moment}`);
    await lvcreate(vg);
    const swap = () => anew(vg);
    const removed = applySwapping("lvm.lv_absent", { name: "lv", vg }, "lvremove", moment, swap);
    await expect(removed).rejects.toMatchObject({ code: "device-swapped" });
    expect(await machine.host.stat(`/dev/${vg}/lv`)).toBeDefined();
  });

  test("a volume that was made anew under the name is not formatted", async () => {
    const { vg } = await group("f");
    await lvcreate(vg);
    const name = `/dev/${vg}/lv`;
    let hash = "";
    const formatted = applySwapping("luks.formatted", { name, key: "secret:mine" }, "", "checked", async () => {
      await anew(vg);
      hash = hashOf(name);
    });
    await expect(formatted).rejects.toMatchObject(swapped(/nothing was changed/u));
    expect(hashOf(name)).toBe(hash);
  });

  test("from the look to the act its volume can be neither removed nor made anew", async () => {
    const { vg } = await group("h");
    await lvcreate(vg);
    const name = `/dev/${vg}/lv`;
    await applySwapping("luks.formatted", { name, key: "secret:mine" }, "cryptsetup", "acting", async () => {
      await expect(anew(vg)).rejects.toMatchObject({ message: expect.stringContaining("in use") as string });
    });
    expect((await machine.host.readRange(name, 0, 4))?.toString()).toBe("LUKS");
  });

  test("a group that got the name of the one that is removed stays", async () => {
    const { vg, disk } = await group("old");
    const other = await machine.disk(40);
    const host = atCommand(machine.host, ["vgremove"], async () => {
      await machine.sh("vgrename", vg, machine.name("renamed"));
      await machine.sh("pvcreate", "--quiet", other);
      await machine.sh("vgcreate", "--quiet", vg, other);
    });
    const volume = declared(machine.name("vgs"), { disk, lvm: { vg, lv: "none" } });
    const removed = destroy(stackContext({ ...run.context, host }, volume), { killHolders: false, force: true });
    await expect(removed).rejects.toMatchObject({ code: "device-swapped" });
    expect((await findVolumeGroup(machine.host, vg))?.devices).toEqual([other]);
  });
});
