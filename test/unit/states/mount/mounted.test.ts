import { expect, test } from "vitest";
import { mountMounted } from "../../../../src/states/mount/mounted.ts";
import { resource } from "../../../../src/states/volume/parts.ts";
import { fakeContext } from "../../../fakes/apply-context.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";
import { addDisk } from "../../../fakes/mounted-disk.ts";

const { params, check, apply } = resource(mountMounted);
const wanted = params.parse({ name: "/data", device: "/dev/vdb", fstype: "ext4" });

/** The disk, not mounted yet, and something mounted below its mount point. */
function hostWith(number: string, point: string, type: string, source: string): FakeHost {
  const table = `1 0 254:1 / / rw - ext4 /dev/vda1 rw\n30 1 ${number} / ${point} rw - ${type} ${source} rw\n`;
  return addDisk(new FakeHost(), "/dev/vdb", "254:16")
    .directory("/data")
    .file("/proc/self/mountinfo", table)
    .on(["mount", "-t", "ext4", "-o", "defaults", "--", "/dev/vdb", "/data"]);
}

test.each([
  ["0:41", "/data/tmp", "tmpfs", "tmpfs"],
  ["0:52", "/data/nas", "nfs4", "nas:/x"],
])("what has no disk behind it (%s on %s) is covered, which is noted", async (number, point, type, source) => {
  const context = fakeContext(hostWith(number, point, type, source));
  const found = await check(wanted, context);
  expect(found).toEqual([{ field: "mounted", from: null, to: "/dev/vdb" }]);
  await apply(wanted, context, found);
  expect(context.noted).toEqual([
    `covers the ${type} that is mounted on "${point}": mount that anew, after the volume`,
  ]);
});

test.each([
  ["254:32", "ext4", "/dev/vdc"],
  ["0:60", "btrfs", "/dev/vdc"],
  ["0:61", "zfs", "tank/inner"],
])("I9: what has a disk behind it (%s, %s) is not covered", async (number, type, source) => {
  const context = fakeContext(hostWith(number, "/data/inner", type, source));
  await expect(check(wanted, context)).rejects.toMatchObject({
    code: "would-cover",
    message: expect.stringContaining(`would cover ${source}, which is mounted on "/data/inner"`) as string,
  });
});

test("which device is mounted is told once it is, and not when mount fails", async () => {
  const told: string[] = [];
  const host = hostWith("254:2", "/other", "ext4", "/dev/vda2");
  const context = fakeContext(host, { mounted: (device) => told.push(`${device} after ${host.runs.length} command`) });
  const found = await check(wanted, context);
  host.once(["mount", "-t", "ext4", "-o", "defaults", "--", "/dev/vdb", "/data"], { exitCode: 32 });
  await expect(apply(wanted, context, found)).rejects.toMatchObject({ code: "command-failed" });
  expect(told).toEqual([]);
  await apply(wanted, context, found);
  expect(told).toEqual(["/dev/vdb after 2 command"]);
});
