import { beforeEach, describe, expect, test } from "vitest";
import { requireBlockDevice } from "../../../../src/states/devices/block-device.ts";
import {
  describeIdentity,
  type DeviceIdentity,
  isSameDevice,
  readDeviceIdentity,
} from "../../../../src/states/devices/device-identity.ts";
import { holding, holdingAll } from "../../../../src/states/devices/held-device.ts";
import { seenDevices, seenOn } from "../../../../src/states/devices/seen-devices.ts";
import { type FakeContext, fakeContext } from "../../../fakes/apply-context.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const DISK: DeviceIdentity = { number: "8:16", sequence: "7", start: "", mappingUuid: "", bytes: 4096 };

const DIFFERENT: readonly (readonly [string, Partial<DeviceIdentity>, boolean])[] = [
  ["nothing", {}, true],
  ["its number", { number: "8:32" }, false],
  ["the kernel's count of disks: another one under the same number", { sequence: "8" }, false],
  ["where a partition starts", { start: "2048" }, false],
  ["the volume behind a mapping", { mappingUuid: "LVM-x" }, false],
  ["its size", { bytes: 8192 }, false],
];

test.each(DIFFERENT)("a device that differs in %s", (_what, difference, isSame) => {
  expect(isSameDevice(DISK, { ...DISK, ...difference })).toBe(isSame);
  expect(isSameDevice({ ...DISK, ...difference }, DISK)).toBe(isSame);
});

test("one that is gone is no other device's equal, and one that was made larger is itself", () => {
  expect(isSameDevice(DISK, undefined)).toBe(false);
  expect(isSameDevice(DISK, { ...DISK, bytes: 8192 }, { isResizable: true })).toBe(true);
  expect(isSameDevice(DISK, { ...DISK, sequence: "8" }, { isResizable: true })).toBe(false);
});

test("what messages say of a device", () => {
  expect(describeIdentity(DISK)).toBe("device 8:16 (disk sequence 7, 4 KiB)");
  expect(describeIdentity({ ...DISK, sequence: "", mappingUuid: "LVM-x" })).toBe("device 8:16 (uuid LVM-x, 4 KiB)");
  expect(describeIdentity(undefined)).toBe("no device");
});

let host: FakeHost;
let context: FakeContext;

function disk(name: string, number: string, sequence: string): void {
  const directory = `/sys/devices/pci/block/${name}`;
  host
    .file(`/dev/${name}`, name, { kind: "block", rdev: number })
    .file(`${directory}/size`, "8\n")
    .file(`${directory}/diskseq`, `${sequence}\n`)
    .link(`/sys/dev/block/${number}`, directory);
}

beforeEach(() => {
  host = new FakeHost();
  context = fakeContext(host);
  disk("sdb", "8:16", "7");
  disk("sdc", "8:32", "9");
  host.link("/dev/data", "/dev/sdb");
});

const format = (from: FakeContext) => from.host.run(["mkfs.ext4", "--", "/dev/data"]);

test("a partition is as old as its disk", async () => {
  const directory = "/sys/devices/pci/block/sdb/sdb1";
  host.file(`${directory}/size`, "4\n").file(`${directory}/start`, "2\n").link("/sys/dev/block/8:17", directory);
  expect(await readDeviceIdentity(host, "8:17")).toEqual({
    number: "8:17",
    sequence: "7",
    start: "2",
    mappingUuid: "",
    bytes: 2048,
  });
  expect(await readDeviceIdentity(host, "8:99")).toBeUndefined();
});

test("commands get the kernel's own name of what is held, and other words of theirs as they are", async () => {
  host.on(["mkfs.ext4", "--", "/dev/sdb"]).on(["true", "/dev/sdc"]);
  await holding(context, "/dev/data", async (held) => {
    await format(held);
    await held.host.run(["true", "/dev/sdc"]);
  });
  expect(host.runs.map(({ argv }) => argv.at(-1))).toEqual(["/dev/sdb", "/dev/sdc"]);
});

test("what is read by the path is what is held, also when the path leads elsewhere by then", async () => {
  await holding(context, "/dev/data", async (held) => {
    host.link("/dev/data", "/dev/sdc");
    expect((await held.host.readRange("/dev/data", 0, 3))?.toString()).toBe("sdb");
    expect((await held.host.stat("/dev/data"))?.rdev).toBe("8:16");
  });
});

describe("a device that is another one", () => {
  const SWAPS: readonly (readonly [string, () => unknown, RegExp])[] = [
    ["by its link", () => host.link("/dev/data", "/dev/sdc"), /was device 8:16 \(disk sequence 7.* is device 8:32/u],
    [
      "by the disk under its number",
      () => disk("sdb", "8:16", "8"),
      /sequence 7, .* is device 8:16 \(disk sequence 8/u,
    ],
    ["by nothing: it was pulled out", () => host.remove("/sys/dev/block/8:16"), /is no device now/u],
    ["by its size", () => host.file("/sys/devices/pci/block/sdb/size", "16\n"), /4 KiB\), and is .*8 KiB/u],
  ];

  test.each(SWAPS)("(%s) before the act: nothing is run", async (_how, swap, message) => {
    const acting = holding(context, "/dev/data", async (held) => {
      await swap();
      await format(held);
    });
    const refusal = { code: "device-swapped", message: expect.stringMatching(message) as string };
    await expect(acting).rejects.toMatchObject(refusal);
    expect(host.runs).toEqual([]);
  });

  test.each(SWAPS.slice(0, 3))("(%s) after the act: an error that says so", async (_how, swap) => {
    host.on(["mkfs.ext4", "--", "/dev/sdb"], async () => {
      await swap();
      return {};
    });
    await expect(holding(context, "/dev/data", format)).rejects.toMatchObject({
      code: "device-swapped",
      message: expect.stringMatching(/mkfs\.ext4 was run on what it was$/u) as string,
    });
  });

  test("than what an earlier look found: nothing is begun", async () => {
    const changes = seenOn([], await requireBlockDevice(host, "/dev/data"));
    host.link("/dev/data", "/dev/sdc");
    const seen = seenDevices(changes).get("/dev/data");
    await expect(holding(context, "/dev/data", format, seen)).rejects.toMatchObject({
      code: "device-swapped",
      message: expect.stringContaining("nothing was changed") as string,
    });
  });
});

test("a name that is gone leads to no other device: what is held is still acted on", async () => {
  host.on(["mkfs.ext4", "--", "/dev/sdb"]);
  await holding(context, "/dev/data", async (held) => {
    await host.remove("/dev/data");
    await format(held);
  });
  expect(host.runs).toHaveLength(1);
});

test("a command that outlives the hold is not compared afterwards", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  host.on(["mkfs.ext4", "--", "/dev/sdb"], async () => {
    await promise;
    return {};
  });
  const started = Promise.withResolvers<Promise<unknown>>();
  await holding(context, "/dev/data", async (held) => {
    const run = format(held);
    started.resolve(run.then(() => "ended"));
    while (host.runs.length === 0) await Promise.resolve();
  });
  host.link("/dev/data", "/dev/sdc");
  resolve();
  expect(await started.promise).toBe("ended");
});

test("several at once, each in its place", async () => {
  host.link("/dev/more", "/dev/sdc").on(["vgcreate", "vg", "/dev/sdb", "/dev/sdc"]);
  await holdingAll(context, ["/dev/data", "/dev/more"], (held) =>
    held.host.run(["vgcreate", "vg", "/dev/data", "/dev/more"]),
  );
  expect(host.runs).toHaveLength(1);
});

test.each([
  ["/dev/nothing", "device-missing"],
  ["/dev", "wrong-device"],
])("%s cannot be held: %s", async (path, code) => {
  await expect(holding(context, path, format)).rejects.toMatchObject({ code });
});
