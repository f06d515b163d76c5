import { expect, test } from "vitest";
import { findMountOn, mountAt, mountsBelow, parseMountInfo } from "../../../../src/states/devices/mount-table.ts";
import { findSignatures } from "../../../../src/states/devices/signatures.ts";
import { parseExtSuperblock, parseXfsSuperblock } from "../../../../src/states/devices/superblock.ts";
import { findFstabLine, formatFstabLine, removeFstabLine, setFstabLine } from "../../../../src/states/mount/fstab.ts";

test("mountinfo, with optional fields and escaped names", () => {
  const text =
    "22 1 254:1 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw,errors=remount-ro\n" +
    "40 22 7:3 / /mnt/a\\040place ro,nodev - xfs /dev/loop3 rw\nnonsense\n";
  expect(parseMountInfo(text)).toEqual([
    {
      id: "22",
      parent: "1",
      number: "254:1",
      mountPoint: "/",
      fsType: "ext4",
      source: "/dev/root",
      options: ["rw", "relatime", "errors=remount-ro"],
    },
    {
      id: "40",
      parent: "22",
      number: "7:3",
      mountPoint: "/mnt/a place",
      fsType: "xfs",
      source: "/dev/loop3",
      options: ["ro", "nodev", "rw"],
    },
  ]);
});

/** Each mount as `id parent mountPoint`. */
const table = (...rows: readonly string[]) =>
  parseMountInfo(
    rows
      .map((row) => row.split(" "))
      .map(([id, parent, point]) => `${id} ${parent} 7:${id} / ${point} rw - ext4 /dev/loop${id} rw`)
      .join("\n"),
  );
const NESTED = ["22 1 /", "30 22 /srv/data", "31 30 /srv/data/app"];
const COVERED = ["22 1 /", "31 22 /srv/data/app", "30 22 /srv/data"];

test.each([
  ["nested", NESTED, "/srv/data/app", "31", undefined],
  ["nested, below it", NESTED, "/srv/data/app/x", undefined, undefined],
  ["covered by a later mount on a directory above", COVERED, "/srv/data/app", "31", "30"],
  ["what covers it", COVERED, "/srv/data", "30", undefined],
  ["several on one point", ["22 1 /", "30 22 /a", "31 30 /a"], "/a", "31", undefined],
  ["a root on another", ["1 1 /", "22 1 /", "30 22 /a"], "/a", "30", undefined],
  ["no mount of the root, as in a chroot", ["30 9 /a", "31 30 /a/b"], "/a/b", "31", undefined],
])("I9: what is mounted on a directory: %s", (_what, rows, path, mount, coveredBy) => {
  const found = findMountOn(table(...rows), path);
  expect([found?.mount.id, found?.coveredBy?.id]).toEqual([mount, coveredBy]);
});

test("a path leads into the mount that covers others", () => {
  expect(mountAt(table(...COVERED), "/srv/data/app/x")?.id).toBe("30");
  expect(mountAt(table(...NESTED), "/srv/data/app/x")?.id).toBe("31");
  expect(mountsBelow(table(...NESTED), "/srv/data").map(({ id }) => id)).toEqual(["31"]);
  expect(mountsBelow(table(...COVERED), "/srv/data")).toEqual([]);
  expect(mountsBelow(table(...COVERED.slice(0, 2)), "/srv/data").map(({ id }) => id)).toEqual(["31"]);
});

test("fstab: the line of the same mount point is replaced, all else stays", () => {
  const entry = { device: "/dev/mapper/d", mountPoint: "/var/my data", fsType: "ext4", options: ["noauto", "nofail"] };
  const line = "/dev/mapper/d /var/my\\040data ext4 noauto,nofail 0 0";
  expect(formatFstabLine(entry)).toBe(line);
  expect(setFstabLine("", entry)).toBe(`${line}\n`);
  expect(setFstabLine("# a\n/dev/x / ext4 defaults 0 1", entry)).toBe(`# a\n/dev/x / ext4 defaults 0 1\n${line}\n`);
  const old = "# /var/my\\040data\n/dev/y\t/var/my\\040data  xfs defaults 0 0\n/dev/z /z ext4 ro 0 0\n";
  expect(setFstabLine(old, entry)).toBe(`# /var/my\\040data\n${line}\n/dev/z /z ext4 ro 0 0\n`);
  expect(removeFstabLine(old, "/var/my data")).toBe("# /var/my\\040data\n/dev/z /z ext4 ro 0 0\n");
  expect(removeFstabLine(old, "/none")).toBe(old);
  expect(findFstabLine("# /var/my\\040data is here\n", "/var/my data")).toBeUndefined();
});

const SIGNATURES = [
  ["crypto_LUKS", 0, "LUKS\xba\xbe"],
  ["LVM2_member", 512, "LABELONE"],
  ["btrfs", 0x10040, "_BHRfS_M"],
  ["gpt", 512, "EFI PART"],
  ["swap", 4086, "SWAPSPACE2"],
  ["ntfs", 3, "NTFS    "],
  ["iso9660", 0x8001, "CD001"],
] as const;

test.each(SIGNATURES)("I2: the signature of %s is found", (kind, offset, text) => {
  const start = Buffer.alloc(0x44000);
  start.write(text, offset, "latin1");
  expect(findSignatures(start)).toEqual([{ kind, label: "", uuid: "" }]);
});

test("I2: zeros have no signature, and a short device is read without harm", () => {
  expect(findSignatures(Buffer.alloc(0x44000))).toEqual([]);
  expect(findSignatures(Buffer.alloc(100))).toEqual([]);
  expect(findSignatures(Buffer.alloc(0))).toEqual([]);
});

test("an ext4 superblock says what it is, and whether it was ever mounted", () => {
  const start = Buffer.alloc(2048);
  const block = start.subarray(1024);
  block.writeUInt16LE(0xef53, 0x38);
  block.writeUInt16LE(1, 0x3a);
  block.writeUInt32LE(0x4, 0x5c);
  block.writeUInt32LE(0x40, 0x60);
  block.fill(0x11, 0x68, 0x78);
  block.write("photos", 0x78);
  const wanted = {
    fsType: "ext4",
    uuid: "11111111-1111-1111-1111-111111111111",
    label: "photos",
    complete: true,
    unclean: false,
  };
  expect(parseExtSuperblock(start)).toEqual({ ...wanted, neverMounted: true });
  block.writeUInt32LE(1, 0x2c);
  expect(parseExtSuperblock(start)).toEqual({ ...wanted, neverMounted: false });
  expect(parseExtSuperblock(Buffer.alloc(2048))).toBeUndefined();
});

test("an xfs superblock that mkfs has not finished says so", () => {
  const start = Buffer.alloc(512);
  start.write("XFSB", 0);
  start.fill(0x22, 32, 48);
  start.write("films", 108);
  start[126] = 1;
  const wanted = { fsType: "xfs", uuid: "22222222-2222-2222-2222-222222222222", label: "films" };
  expect(parseXfsSuperblock(start, false)).toEqual({ ...wanted, complete: false, neverMounted: true });
  start[126] = 0;
  expect(parseXfsSuperblock(start, false)).toEqual({ ...wanted, complete: true, neverMounted: false });
});
