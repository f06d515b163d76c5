import { expect, test } from "vitest";
import { parseBtrfsSuperblock } from "../../../../src/states/devices/btrfs-superblock.ts";
import { crc32c } from "../../../../src/states/devices/crc32c.ts";

function block(magic: string): Buffer {
  const bytes = Buffer.alloc(4096);
  bytes.fill(0x33, 0x20, 0x30);
  bytes.write(magic, 0x40, "latin1");
  bytes.writeUInt32LE(4096, 0x90);
  bytes.writeBigUInt64LE(128n * 1024n * 1024n, 0xd1);
  bytes.write("photos", 0x12b);
  bytes.writeUInt32LE(crc32c(bytes.subarray(32)), 0);
  return bytes;
}

const WANTED = {
  uuid: "33333333-3333-3333-3333-333333333333",
  label: "photos",
  deviceBytes: 128 * 1024 * 1024,
  sectorBytes: 4096,
};

test("CRC-32C gives the published value", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
});

test("a btrfs superblock says what it is; one that mkfs has not finished, or that is torn, says so", () => {
  expect(parseBtrfsSuperblock(block("_BHRfS_M"))).toEqual({ ...WANTED, complete: true, neverMounted: false });
  expect(parseBtrfsSuperblock(block("!BHRfS_M"))).toEqual({ ...WANTED, complete: false, neverMounted: true });
  const torn = block("_BHRfS_M");
  torn[2000] = 1;
  expect(parseBtrfsSuperblock(torn)).toEqual({ ...WANTED, complete: false, neverMounted: false });
  expect(parseBtrfsSuperblock(Buffer.alloc(4096))).toBeUndefined();
  expect(parseBtrfsSuperblock(Buffer.alloc(10))).toBeUndefined();
});
