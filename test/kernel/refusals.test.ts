import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scanVolumeGroups } from "../../src/states/devices/lvm-scan.ts";
import type { Json } from "../../src/core/json.ts";
import { hashOf, Machine, scribble } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const mine = machineKey();
const another = machineKey();
const otherGroup = machine.name("other");
const held = machine.name("held");

/** A device that holds something, and what a refusal must name. */
interface Occupied {
  readonly finding: RegExp;
  readonly prepare: () => Promise<string>;
}

async function made(mib: number, ...argv: [string, ...string[]]): Promise<string> {
  const path = await machine.disk(mib);
  await machine.sh(...argv, path);
  return path;
}

const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--luks2-keyslots-size", "1m"] as const;

async function luksDisk(): Promise<string> {
  const path = await machine.disk(8);
  await machine.shWith(another.bytes, "cryptsetup", "luksFormat", "-q", ...KDF, "--key-file=-", path);
  return path;
}

function partitionEntry(type: number, start: number, sectors: number): Buffer {
  const entry = Buffer.alloc(16);
  entry[4] = type;
  entry.writeUInt32LE(start, 8);
  entry.writeUInt32LE(sectors, 12);
  return entry;
}

const OCCUPIED: Readonly<Record<string, Occupied>> = {
  "an ext4 file system": {
    finding: /has a file system: ext4 labelled "photos" \(uuid [0-9a-f-]{36}\)/u,
    prepare: () => made(8, "mkfs.ext4", "-q", "-L", "photos"),
  },
  "an xfs file system": {
    finding: /has a file system: xfs labelled "films" \(uuid [0-9a-f-]{36}\)/u,
    prepare: () => made(320, "mkfs.xfs", "-q", "-L", "films"),
  },
  "a btrfs signature": {
    finding: /file system: btrfs/u,
    prepare: async () => {
      const path = await machine.disk(1);
      scribble(path, 0x10040, Buffer.from("_BHRfS_M"));
      return path;
    },
  },
  "a GPT partition table": {
    finding: /has a partition table: gpt/u,
    prepare: async () => {
      const path = await machine.disk(4);
      scribble(path, 446, partitionEntry(0xee, 1, 8191));
      scribble(path, 510, Buffer.from([0x55, 0xaa]));
      scribble(path, 512, Buffer.from("EFI PART\0\0\x01\0\x5c\0\0\0", "latin1"));
      return path;
    },
  },
  "a DOS partition table": {
    finding: /has a partition table: dos/u,
    prepare: async () => {
      const path = await machine.disk(4);
      scribble(path, 446, partitionEntry(0x83, 2048, 2048));
      scribble(path, 510, Buffer.from([0x55, 0xaa]));
      return path;
    },
  },
  "a physical volume of another group": {
    finding: /(?:physical volume of volume group "\w+other")/u,
    prepare: async () => {
      const path = await made(16, "pvcreate", "--quiet");
      await machine.sh("vgcreate", "--quiet", otherGroup, path);
      return path;
    },
  },
  "a mounted file system": {
    finding: /(?:is mounted on ".*films"|has a file system: ext4)/u,
    prepare: async () => {
      const path = await made(8, "mkfs.ext4", "-q");
      // read-only: a writable mount writes by itself, and this disk is watched byte for byte
      await machine.sh("mount", "-o", "ro", path, machine.makeDirectory("films"));
      return path;
    },
  },
  "swap in use": {
    finding: /is in use as swap/u,
    prepare: async () => {
      const path = await made(4, "mkswap", "--quiet");
      await machine.sh("swapon", path);
      return path;
    },
  },
  "swap space": {
    finding: /is swap space/u,
    prepare: () => made(4, "mkswap", "--quiet"),
  },
  "a device on top of it": {
    finding: /is in use by \/dev\/mapper\/\w+held/u,
    prepare: async () => {
      const path = await machine.disk(4);
      await machine.shWith(Buffer.from(`0 2048 linear ${path} 0\n`), "dmsetup", "create", held);
      return path;
    },
  },
};

const paths = new Map<string, string>();
let blank = "";
let luks = "";
let run: StateRun;

beforeAll(async () => {
  for (const [what, { prepare }] of Object.entries(OCCUPIED)) paths.set(what, await prepare());
  blank = await machine.disk(4);
  luks = await luksDisk();
  run = new StateRun(machine.host, machine.directory, { "secret:mine": mine, "secret:another": another });
});
afterAll(() => machine.dispose());

const wanting: Readonly<Record<string, (path: string) => Readonly<Record<string, Json>>>> = {
  "lvm.pv_present": (name) => ({ name, vg: machine.name("new") }),
  "lvm.vg_present": (path) => ({ name: machine.name("new"), devices: [path] }),
  "luks.formatted": (name) => ({ name, key: "secret:mine" }),
  "luks.opened": (device) => ({ name: machine.name("x"), device, key: "secret:mine" }),
  "fs.formatted": (name) => ({ name, fstype: "ext4" }),
  "mount.mounted": (device) => ({ name: `${machine.directory}/m`, device, fstype: "xfs", mkmnt: true }),
};

/** Those that write to the device, and the change that makes them do it. */
const FORMATS: Readonly<Record<string, string>> = {
  "lvm.pv_present": "physical volume",
  "lvm.vg_present": "volume group",
  "luks.formatted": "luks",
  "fs.formatted": "file system",
};

/** What a state accepts as it is is no wrong device for it. */
const FITS: Readonly<Record<string, readonly string[]>> = {
  "fs.formatted": ["an ext4 file system", "a mounted file system"],
  "mount.mounted": ["an xfs file system"],
};

describe.each(Object.keys(OCCUPIED))("I2: a device with %s", (what) => {
  const states = Object.keys(wanting).filter((name) => FITS[name]?.includes(what) !== true);
  test.each(states)("is refused by %s with what was found, and stays as it is byte for byte", async (name) => {
    const path = paths.get(what) ?? "";
    const params = wanting[name]?.(path) ?? {};
    const before = hashOf(path);
    const finding = OCCUPIED[what]?.finding ?? /^$/u;
    const refused = { code: "wrong-device", message: expect.stringMatching(finding) as string };
    const refusal = run.test(name, params);
    await expect(refusal).rejects.toMatchObject(refused);
    // also when it became occupied only after the look
    const field = FORMATS[name];
    const forced = field === undefined ? refusal : run.force(name, params, [{ field, from: null, to: path }]);
    await expect(forced).rejects.toMatchObject({ code: "wrong-device" });
    expect(hashOf(path)).toBe(before);
    expect(run.secrets.every(({ wiped }) => wiped)).toBe(true);
  });
});

test.each(Object.keys(wanting))("I2: a device that does not exist is an error of %s that says so", async (name) => {
  await expect(run.test(name, wanting[name]?.("/dev/nowhere") ?? {})).rejects.toMatchObject({
    code: "device-missing",
    message: expect.stringContaining('cannot find device "/dev/nowhere"') as string,
  });
});

test.each(Object.keys(wanting))("I2: a file where %s expects a device is refused", async (name) => {
  const path = machine.file(`not-a-device-${name}`, 1);
  await expect(run.test(name, wanting[name]?.(path) ?? {})).rejects.toMatchObject({ code: "wrong-device" });
});

test("I2: a LUKS device that the key does not open is never formatted again", async () => {
  const before = hashOf(luks);
  expect(await run.apply("luks.formatted", { name: luks, key: "secret:mine" })).toEqual([]);
  await run.force("luks.formatted", { name: luks, key: "secret:mine" }, [{ field: "luks", from: null, to: "luks2" }]);
  await expect(
    run.apply("luks.opened", { name: machine.name("x"), device: luks, key: "secret:mine" }),
  ).rejects.toMatchObject({ code: "wrong-key", message: expect.stringContaining("secret:mine") as string });
  expect(hashOf(luks)).toBe(before);
  await run.apply("luks.opened", { name: machine.name("x"), device: luks, key: "secret:another" });
  await machine.sh("cryptsetup", "close", machine.name("x"));
});

test("I2: a LUKS device is refused by all that would put something else on it", async () => {
  const before = hashOf(luks);
  for (const name of ["lvm.pv_present", "lvm.vg_present", "fs.formatted", "mount.mounted"]) {
    await expect(run.test(name, wanting[name]?.(luks) ?? {})).rejects.toMatchObject({
      code: "wrong-device",
      message: expect.stringMatching(/has a LUKS header \(uuid [0-9a-f-]{36}\)/u) as string,
    });
  }
  expect(hashOf(luks)).toBe(before);
});

test("I2: a damaged LUKS header that is not our own unfinished work is kept", async () => {
  const path = await luksDisk();
  scribble(path, 5000, Buffer.from("torn"));
  scribble(path, 0x4000 + 5000, Buffer.from("torn"));
  const before = hashOf(path);
  await expect(run.test("luks.formatted", { name: path, key: "secret:mine" })).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringContaining("damaged LUKS header") as string,
  });
  expect(hashOf(path)).toBe(before);
});

test("I2: one sound copy of a LUKS header is enough to be LUKS", async () => {
  const path = await luksDisk();
  scribble(path, 0, Buffer.alloc(4096));
  expect(await run.test("luks.formatted", { name: path, key: "secret:mine" })).toEqual([]);
});

test("lesson: blockdev.formatted formats over any other signature; fs.formatted knows no force", async () => {
  await expect(run.test("fs.formatted", { name: blank, fstype: "ext4", force: true })).rejects.toThrow(/force/u);
  const path = paths.get("an xfs file system") ?? "";
  await expect(run.test("fs.formatted", { name: path, fstype: "ext4" })).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringMatching(/cannot make ext4 on .*: it has a file system: xfs/u) as string,
  });
});

test("lesson: #58759 a symlink names the same device as the device itself", async () => {
  const link = `${machine.directory}/link`;
  await machine.sh("ln", "--symbolic", "--", paths.get("a physical volume of another group") ?? "", link);
  expect(await run.test("lvm.pv_present", { name: link, vg: otherGroup })).toEqual([]);
  expect(await run.test("lvm.vg_present", { name: otherGroup, devices: link })).toEqual([]);
});

test("lesson: #64076 an existing logical volume is fine, and is never made smaller", async () => {
  await machine.sh("lvcreate", "--quiet", "--name", "there", "--size", "8M", otherGroup);
  const volume = { name: "there", vgname: otherGroup };
  expect(await run.test("lvm.lv_present", { ...volume, size: "8M" })).toEqual([]);
  expect(await run.test("lvm.lv_present", { ...volume, size: "100%FREE" })).toEqual([]);
  expect(await run.test("lvm.lv_present", { ...volume, size: "12M" })).toEqual([]);
  await expect(run.test("lvm.lv_present", { ...volume, size: "4M" })).rejects.toMatchObject({ code: "cannot-shrink" });
  await machine.sh("lvchange", "--activate", "n", `${otherGroup}/there`);
  await expect(run.test("lvm.lv_present", { ...volume, size: "4M" })).rejects.toMatchObject({ code: "cannot-shrink" });
  expect(await run.apply("lvm.lv_present", { ...volume, size: "8M" })).toEqual([
    { field: "active", from: false, to: true },
  ]);
});

test("lesson: #35699 a volume too large for its group is an error with LVM's own words", async () => {
  await expect(run.apply("lvm.lv_present", { name: "huge", vgname: otherGroup, size: "10G" })).rejects.toMatchObject({
    code: "command-failed",
    message: expect.stringContaining("insufficient free space") as string,
  });
});

test("our own reader of LVM metadata agrees with LVM", async () => {
  const found = (await scanVolumeGroups(machine.host)).find(({ name }) => name === otherGroup);
  const fields = "vg_uuid,vg_seqno,vg_extent_size,lv_name,lv_uuid";
  const options = ["--noheadings", "--nosuffix", "--units=b", "--separator=,", `--options=${fields}`];
  const line = (await machine.sh("lvs", ...options, otherGroup)).trim();
  const pv = await machine.sh("pvs", "--noheadings", "--options=pv_uuid", found?.devices[0] ?? "");
  const volume = found?.volumes[0];
  expect([found?.uuid, found?.sequence, found?.extentBytes, volume?.name, volume?.uuid].join(",")).toBe(line);
  expect(found?.pvUuids).toEqual([pv.trim()]);
});

test("two groups of one name are told apart by nobody, so that is an error", async () => {
  const second = await made(8, "pvcreate", "--quiet");
  await machine.sh("vgcreate", "--quiet", machine.name("twin"), second);
  await expect(run.test("lvm.vg_present", { name: machine.name("twin"), devices: blank })).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringContaining(second) as string,
  });
});

test("a mount point that is taken is refused", async () => {
  await machine.sh("mkdir", "-p", `${machine.directory}/m`);
  const wanted = { name: `${machine.directory}/films`, fstype: "ext4", device: paths.get("an ext4 file system") ?? "" };
  await expect(run.test("mount.mounted", wanted)).rejects.toMatchObject({ code: "wrong-device" });
});

test("a mapping name that is taken is refused", async () => {
  await expect(run.test("luks.opened", { name: held, device: luks, key: "secret:another" })).rejects.toMatchObject({
    code: "mapping-taken",
  });
});
