import { afterAll, beforeAll, expect, test } from "vitest";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const key = machineKey();
const vg = machine.name("vg");
const lv = "data-1";
const device = `/dev/${vg}/${lv}`;
const mapping = machine.name("open");
const mountPoint = `${machine.directory}/data`;
let disk = "";
let run: StateRun;

/** The whole volume, in the order in which it is built. */
const steps = () =>
  [
    ["lvm.pv_present", { name: disk, vg }],
    ["lvm.vg_present", { name: vg, devices: [disk] }],
    ["lvm.lv_present", { name: lv, vgname: vg, size: "100%FREE" }],
    ["luks.formatted", { name: device, key: "secret:password" }],
    ["luks.opened", { name: mapping, device, key: "secret:password" }],
    ["fs.formatted", { name: `/dev/mapper/${mapping}`, fstype: "ext4", label: "data" }],
    [
      "mount.mounted",
      { name: mountPoint, device: `/dev/mapper/${mapping}`, fstype: "ext4", mkmnt: true, opts: "noatime" },
    ],
  ] as const;

beforeAll(async () => {
  disk = await machine.disk(24);
  run = new StateRun(machine.host, machine.directory, { "secret:password": key });
});
afterAll(() => machine.dispose());

test("on a blank disk test mode says what the first layer needs and that the others are not there, and writes nothing", async () => {
  const before = hashOf(disk);
  const [first, second, ...others] = steps();
  expect(await run.test(...first)).toEqual([{ field: "physical volume", from: null, to: disk }]);
  expect(await run.test(...second)).toEqual([{ field: "volume group", from: null, to: [disk] }]);
  for (const [name, params] of others) {
    await expect(run.test(name, params)).rejects.toMatchObject({ code: "device-missing" });
  }
  expect(hashOf(disk)).toBe(before);
});

test("the first run builds every layer, each with a test mode that says so and writes nothing", async () => {
  for (const [name, params] of steps()) {
    const before = hashOf(disk);
    const predicted = await run.test(name, params);
    expect(predicted).toHaveLength(1);
    expect(hashOf(disk)).toBe(before);
    expect(await run.apply(name, params)).toEqual(predicted);
  }
  await machine.host.writeFile(`${mountPoint}/precious`, Buffer.from("row 1"), { mode: 0o600 });
});

test("the second run changes nothing", async () => {
  for (const [name, params] of steps()) expect(await run.apply(name, params)).toEqual([]);
});

test("every lease was wiped, and luks.key_wiped says when", async () => {
  expect(run.leases.map(({ purpose }) => purpose)).toEqual(["format", "open"]);
  expect(run.secrets.every(({ wiped }) => wiped)).toBe(true);
  const outcome = await run.act("luks.key_wiped", { name: "secret:password" });
  expect(outcome.result).toBe(true);
  expect(outcome.comment).toMatch(/^key: leased [\d:.]+ used [\d:.]+ wiped [\d:.]+ .*to format\nkey: .*to open$/u);
});

test("the machine keyslot: pbkdf2, 1,000 iterations, a 1 MiB area, priority prefer", async () => {
  const finding = await readLuksHeader(machine.host, device);
  expect(finding).toMatchObject({
    kind: "valid",
    header: {
      version: 2,
      metadata: {
        keyslots: { 0: { priority: 2, kdf: { type: "pbkdf2", iterations: 1000 } } },
        config: { keyslots_size: "1048576" },
      },
    },
  });
});

test("after a reboot the same run opens and mounts what is there, and the data is still there", async () => {
  await machine.sh("umount", mountPoint);
  await machine.sh("cryptsetup", "close", mapping);
  await machine.sh("vgchange", "--activate", "n", vg);
  const again = new StateRun(machine.host, machine.directory, { "secret:password": key });
  const changed: string[] = [];
  for (const [name, params] of steps()) if ((await again.apply(name, params)).length > 0) changed.push(name);
  expect(changed).toEqual(["lvm.lv_present", "luks.opened", "mount.mounted"]);
  expect((await machine.host.readFile(`${mountPoint}/precious`))?.toString("utf8")).toBe("row 1");
});

test("a run on a volume that stands starts few processes", async () => {
  await machine.sh("umount", mountPoint);
  await machine.sh("cryptsetup", "close", mapping);
  await machine.sh("vgchange", "--activate", "n", vg);
  const started: string[] = [];
  const host = {
    ...machine.host,
    run: (...[argv, options]: Parameters<typeof machine.host.run>) => {
      started.push(argv[0]);
      return machine.host.run(argv, options);
    },
  };
  const again = new StateRun(host, machine.directory, { "secret:password": key });
  for (const [name, params] of steps()) await again.apply(name, params);
  expect(started).toEqual(["lvchange", "cryptsetup", "dmsetup", "mount"]);
});
