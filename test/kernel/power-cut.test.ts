import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { hashOf, Machine, scribble } from "./support/machine.ts";
import { cutBefore, cutDuring, PowerCut } from "./support/power-cut.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const keys = { "secret:password": machineKey() };
const mapping = machine.name("open");
let disk = "";

beforeAll(async () => {
  disk = await machine.disk(24);
});
afterAll(() => machine.dispose());

const freshRun = (host = machine.host): StateRun => new StateRun(host, machine.directory, keys);
const format = (name: string) => ["luks.formatted", { name, key: "secret:password" }] as const;

const calls = (verb: string) => (argv: readonly string[]) => argv[0] === "cryptsetup" && argv[1] === verb;

async function opens(device: string): Promise<void> {
  const key = keys["secret:password"].bytes;
  await machine.shWith(key, "cryptsetup", "open", "--test-passphrase", "--key-file=-", device);
}

test("I3: the power cut before each command of the first build: the next run goes on, and at the end the volume stands", async () => {
  const vg = machine.name("vg");
  const device = `/dev/${vg}/data`;
  const mountPoint = `${machine.directory}/data`;
  const steps = [
    ["lvm.pv_present", { name: disk, vg }],
    ["lvm.vg_present", { name: vg, devices: [disk] }],
    ["lvm.lv_present", { name: "data", vgname: vg, size: "12M" }],
    format(device),
    ["luks.opened", { name: mapping, device, key: "secret:password" }],
    ["fs.formatted", { name: `/dev/mapper/${mapping}`, fstype: "ext4" }],
    ["mount.mounted", { name: mountPoint, device: `/dev/mapper/${mapping}`, fstype: "ext4", mkmnt: true }],
  ] as const;
  const victims = [
    "pvcreate",
    "vgcreate",
    "lvcreate",
    "cryptsetup luksFormat",
    "cryptsetup config",
    "cryptsetup open --test",
    "cryptsetup open --type luks2 ",
    "mkfs.ext4",
    "mount",
  ];
  for (const victim of victims) {
    const host = cutBefore(machine.host, (argv) => `${argv.join(" ")} `.startsWith(victim));
    const life = freshRun(host);
    const build = async (): Promise<void> => {
      for (const [name, params] of steps) await life.apply(name, params);
    };
    await expect(build()).rejects.toBeInstanceOf(PowerCut);
  }
  const last = freshRun();
  for (const [name, params] of steps) await last.apply(name, params);
  const run = freshRun();
  for (const [name, params] of steps) expect(await run.apply(name, params)).toEqual([]);
  await opens(device);
  await machine.sh("umount", mountPoint);
  await machine.sh("cryptsetup", "close", mapping);
});

test("I2: luksFormat killed in the middle is recognised as our own and done again", async () => {
  const path = await machine.disk(4);
  const hasBegun = async (): Promise<boolean> => (await readLuksHeader(machine.host, path)).kind !== "none";
  const host = cutDuring(machine.host, calls("luksFormat"), hasBegun);
  await expect(freshRun(host).apply(...format(path))).rejects.toBeInstanceOf(PowerCut);
  expect(await freshRun().apply(...format(path))).toHaveLength(1);
  await opens(path);
  expect(await freshRun().apply(...format(path))).toEqual([]);
});

test("I2: a header of ours that was torn is done again; after the commit the same damage is kept", async () => {
  const path = await machine.disk(4);
  const tear = (): void => {
    for (const at of [5000, 0x4000 + 5000]) scribble(path, at, Buffer.from("torn"));
  };
  // cut between luksFormat and all that follows
  await expect(freshRun(cutBefore(machine.host, calls("config"))).apply(...format(path))).rejects.toBeInstanceOf(
    PowerCut,
  );
  tear();
  expect(await freshRun().apply(...format(path))).toEqual([{ field: "luks", from: "unfinished", to: "luks2" }]);
  await opens(path);
  tear();
  const before = hashOf(path);
  await expect(freshRun().apply(...format(path))).rejects.toMatchObject({ code: "wrong-device" });
  expect(hashOf(path)).toBe(before);
});

test("I3: a format that was complete but for its commit is kept: its volume key stays the same", async () => {
  const path = await machine.disk(4);
  await expect(freshRun(cutBefore(machine.host, calls("open"))).apply(...format(path))).rejects.toBeInstanceOf(
    PowerCut,
  );
  const before = await readLuksHeader(machine.host, path);
  await freshRun().apply(...format(path));
  const after = await readLuksHeader(machine.host, path);
  expect(before.kind === "valid" && after.kind === "valid" && after.header.uuid === before.header.uuid).toBe(true);
});

test("I2: a LUKS header that is not the one in the journal is kept, whatever the journal says", async () => {
  const path = await machine.disk(4);
  await expect(freshRun(cutBefore(machine.host, calls("luksFormat"))).apply(...format(path))).rejects.toBeInstanceOf(
    PowerCut,
  );
  const somebody = machineKey();
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--luks2-keyslots-size", "1m"] as const;
  await machine.shWith(somebody.bytes, "cryptsetup", "luksFormat", "-q", ...kdf, "--key-file=-", path);
  const before = hashOf(path);
  expect(await freshRun().apply(...format(path))).toEqual([]);
  expect(hashOf(path)).toBe(before);
});

test("I2: pvcreate cut short is recognised as our own and done again", async () => {
  const path = await machine.disk(8);
  const hasBegun = async (): Promise<boolean> =>
    (await machine.host.readRange(path, 0, 8192))?.some((byte) => byte > 0) === true;
  const host = cutDuring(machine.host, (argv) => argv[0] === "pvcreate", hasBegun);
  await expect(freshRun(host).apply("lvm.pv_present", { name: path })).rejects.toBeInstanceOf(PowerCut);
  await freshRun().apply("lvm.pv_present", { name: path });
  expect(await freshRun().apply("lvm.pv_present", { name: path })).toEqual([]);
  expect(await machine.sh("pvs", "--noheadings", "--options=pv_name", path)).toContain(path);
});

const FILE_SYSTEMS = [
  ["ext4", 16],
  ["xfs", 320],
] as const;

test.each(FILE_SYSTEMS)("I2: mkfs of %s killed in the middle is done again", async (fstype, mib) => {
  const path = await machine.disk(mib);
  const wanted = { name: path, fstype };
  const hasBegun = async (): Promise<boolean> =>
    (await machine.host.readRange(path, 0, 4096))?.some((byte) => byte > 0) === true;
  const host = cutDuring(machine.host, (argv) => argv[0] === `mkfs.${fstype}`, hasBegun);
  await expect(freshRun(host).apply("fs.formatted", wanted)).rejects.toBeInstanceOf(PowerCut);
  await freshRun().apply("fs.formatted", wanted);
  expect(await freshRun().apply("fs.formatted", wanted)).toEqual([]);
});

test.each(FILE_SYSTEMS)(
  "I2: an uncommitted %s file system that was mounted is kept, one that never was is made again",
  async (fstype, mib) => {
    const path = await machine.disk(mib);
    const run = freshRun();
    const wanted = { name: path, fstype };
    const mountPoint = machine.makeDirectory(`uncommitted-${fstype}`);
    const make = async (): Promise<string> => {
      const uuid = randomUUID();
      const options = fstype === "xfs" ? ["-f", "-m", `uuid=${uuid}`] : ["-F", "-U", uuid];
      await machine.sh(`mkfs.${fstype}`, "-q", ...options, path);
      return uuid;
    };
    const uuidNow = async (): Promise<string> =>
      (await machine.sh("blkid", "-p", "-o", "value", "-s", "UUID", path)).trim();
    await run.apply("fs.formatted", wanted).catch(() => {});
    const identity = `mkfs:loop:${(await machine.sh("losetup", "--noheadings", "--output=BACK-FILE", path)).trim()}`;
    const fresh = await make();
    await run.context.begin(identity, { uuid: fresh });
    await run.apply("fs.formatted", wanted);
    expect(await uuidNow()).not.toBe(fresh);
    const used = await make();
    await run.context.begin(identity, { uuid: used });
    await machine.sh("mount", path, mountPoint);
    await machine.host.writeFile(`${mountPoint}/precious`, Buffer.from("row"), { mode: 0o600 });
    await machine.sh("umount", mountPoint);
    await run.apply("fs.formatted", wanted);
    expect(await uuidNow()).toBe(used);
    expect(await run.context.pending(identity)).toBeUndefined();
  },
);
