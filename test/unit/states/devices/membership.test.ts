import { expect, test } from "vitest";
import type { BlockDevice } from "../../../../src/states/devices/block-device.ts";
import { findMembership } from "../../../../src/states/devices/membership.ts";
import { findMemberSignature } from "../../../../src/states/devices/signatures.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const KIB = 1024;
const BYTES = 1000 * KIB + 512;
const UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f";
const SET = Buffer.from(UUID.replaceAll("-", ""), "hex");

function md1(superOffset: number): Buffer {
  const block = Buffer.alloc(512);
  block.writeUInt32LE(0xa92b4efc, 0);
  block.writeUInt32LE(1, 4);
  SET.copy(block, 16);
  block.write("web1:data", 32);
  block.writeBigUInt64LE(BigInt(superOffset / 512), 144);
  return block;
}

function md090(): Buffer {
  const block = Buffer.alloc(512);
  block.writeUInt32LE(0xa92b4efc, 0);
  block.writeUInt32LE(90, 8);
  SET.copy(block, 20, 0, 4);
  block.writeUInt32LE(7, 44);
  SET.copy(block, 52, 4);
  return block;
}

const at = (offset: number, hex: string): Buffer => Buffer.concat([Buffer.alloc(offset), Buffer.from(hex, "hex")]);
const MD = { kind: "linux_raid_member", label: "web1:data", uuid: UUID };
const nameless = (kind: string) => ({ kind, label: "", uuid: "" });
const INTEL = Buffer.from("Intel Raid ISM Cfg Sig. 1.0").toString("hex");

const PLACES: readonly (readonly [string, number, Buffer, object | undefined])[] = [
  ["md 1.1", 0, md1(0), MD],
  ["md 1.2", 4 * KIB, md1(4 * KIB), MD],
  ["md 1.0", 992 * KIB, md1(992 * KIB), MD],
  ["md 1.0 of an array inside of what is on the disk", 992 * KIB, md1(512 * KIB), undefined],
  ["md 0.90", 896 * KIB, md090(), { ...MD, label: "md7" }],
  ["md 0.90 elsewhere", 960 * KIB, md090(), undefined],
  ["DRBD 8.3", 996 * KIB, at(60, "8374026b"), nameless("drbd")],
  ["DRBD 8.4, unclean", 996 * KIB, at(60, "8374026c"), nameless("drbd")],
  ["DRBD 9", 996 * KIB, at(60, "8374026d"), nameless("drbd")],
  ["DDF", BYTES - 512, at(0, "de11de11"), nameless("ddf_raid_member")],
  ["Intel's", BYTES - 1024, at(0, INTEL), nameless("isw_raid_member")],
];

const readerOf = (disk: Buffer) => async (offset: number, length: number) => disk.subarray(offset, offset + length);

test.each(PLACES)("I2: the signature of a member: %s", async (_what, offset, block, signature) => {
  const disk = Buffer.alloc(BYTES);
  block.copy(disk, offset);
  expect(await findMemberSignature(BYTES, readerOf(disk))).toEqual(signature);
});

test("zeros are no member, and neither is a device too small for anything", async () => {
  for (const bytes of [0, 1, 512, 4096, BYTES]) {
    expect(await findMemberSignature(bytes, readerOf(Buffer.alloc(bytes)))).toBeUndefined();
  }
});

const device = (mapping: BlockDevice["mapping"]): BlockDevice =>
  ({ path: "/dev/sda", number: "8:0", bytes: 0, mapping }) as BlockDevice;
const LVM = `LVM-${"a".repeat(64)}`;

const PARTS: readonly (readonly [string, BlockDevice["mapping"], string, string | undefined])[] = [
  ["a disk", undefined, "E:ID_FS_TYPE=crypto_LUKS\n", undefined],
  [
    "one path of a multipath device",
    undefined,
    "S:x\nE:DM_MULTIPATH_DEVICE_PATH=1\n",
    "one path of a multipath device",
  ],
  ["one that blkid calls a path", undefined, "E:ID_FS_TYPE=mpath_member\n", "one path of a multipath device"],
  ["one that is no path any more", undefined, "E:DM_MULTIPATH_DEVICE_PATH=0\n", undefined],
  ["a logical volume", { name: "vg-data", uuid: LVM }, "", undefined],
  ["a leg of a RAID", { name: "vg-data_rimage_0", uuid: LVM }, "", "part of a logical volume (vg-data_rimage_0)"],
  ["a leg of a mirror", { name: "vg-data_mimage_1", uuid: LVM }, "", "part of a logical volume"],
  ["the origin below a snapshot", { name: "vg-data-real", uuid: `${LVM}-real` }, "", "part of a logical volume"],
  ["another's mapping of such a name", { name: "x_rimage_0", uuid: "mpath-1" }, "", undefined],
];

test.each(PARTS)("I2: what is only a part: %s", async (_what, mapping, udev, finding) => {
  const host = new FakeHost();
  if (udev !== "") host.file("/run/udev/data/b8:0", udev);
  const found = await findMembership(host, device(mapping));
  expect(found?.finding ?? "").toContain(finding ?? "");
  expect(found === undefined).toBe(finding === undefined);
});
