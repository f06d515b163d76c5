import { expect, test } from "vitest";
import { sizeOfBtrfs, sizeOfExt, sizeOfXfs } from "../../../../src/states/devices/file-system-size.ts";

const MIB = 1024 * 1024;

/** ext4 with blocks of 4 KiB: groups of 32,768 blocks, each with 512 blocks of inodes. */
function ext(blocks: number): Buffer {
  const start = Buffer.alloc(2048);
  const block = start.subarray(1024);
  block.writeUInt16LE(0xef53, 0x38);
  block.writeUInt32LE(blocks, 0x4);
  block.writeUInt32LE(2, 0x18);
  block.writeUInt32LE(32_768, 0x20);
  block.writeUInt32LE(8192, 0x28);
  block.writeUInt16LE(256, 0x58);
  block.writeUInt32LE(0x40, 0x60);
  return start;
}

test.each([
  ["of the same size", 32_768, 128 * MIB, 32_768],
  ["a little larger, which has no room for a group of its own", 32_768, 129 * MIB, 32_768],
  ["larger by a group", 32_768, 256 * MIB, 65_536],
  ["larger by a group and a little", 32_768, 257 * MIB, 65_536],
  ["larger within the group that is there", 30_000, 128 * MIB, 32_768],
])("ext4 on a device %s", (_, blocks, deviceBytes, possible) => {
  expect(sizeOfExt(ext(blocks), deviceBytes)).toEqual({
    fsType: "ext4",
    bytes: blocks * 4096,
    possible: possible * 4096,
  });
});

test("xfs: a rest of fewer than 64 blocks makes no group", () => {
  const start = Buffer.alloc(512);
  start.write("XFSB", 0);
  start.writeUInt32BE(4096, 4);
  start.writeBigUInt64BE(80_000n, 8);
  start.writeBigUInt64BE(5n, 48);
  start.writeUInt32BE(20_000, 84);
  start.writeUInt32BE(100, 96);
  const size = { fsType: "xfs", bytes: 80_000 * 4096, log: 100 * 4096 };
  expect(sizeOfXfs(start, 80_063 * 4096)).toEqual({ ...size, possible: 80_000 * 4096 });
  expect(sizeOfXfs(start, 80_064 * 4096)).toEqual({ ...size, possible: 80_064 * 4096 });
});

test("btrfs takes whole sectors, and is never resized below 256 MiB", () => {
  const block = Buffer.alloc(4096);
  block.write("_BHRfS_M", 0x40, "latin1");
  block.writeUInt32LE(4096, 0x90);
  block.writeBigUInt64LE(BigInt(128 * MIB), 0xd1);
  expect(sizeOfBtrfs(block, 200 * MIB)).toMatchObject({ bytes: 128 * MIB, possible: 128 * MIB });
  expect(sizeOfBtrfs(block, 300 * MIB + 100)).toMatchObject({ possible: 300 * MIB });
});

test("what is none of them has no size", () => {
  expect(sizeOfExt(Buffer.alloc(2048), MIB)).toBeUndefined();
  expect(sizeOfXfs(Buffer.alloc(512), MIB)).toBeUndefined();
  expect(sizeOfBtrfs(Buffer.alloc(4096), MIB)).toBeUndefined();
});

test.each([
  ["ext4 with groups of no blocks", (start: Buffer) => start.writeUInt32LE(0, 1024 + 0x20)],
  ["ext4 with blocks of 2^42 bytes", (start: Buffer) => start.writeUInt32LE(32, 1024 + 0x18)],
  ["ext4 with blocks of more bytes than there are numbers", (start: Buffer) => start.writeUInt32LE(5000, 1024 + 0x18)],
])("%s has no size", (_, spoil) => {
  const start = ext(32_768);
  spoil(start);
  expect(sizeOfExt(start, 256 * MIB)).toBeUndefined();
});

test("xfs with blocks or groups of nothing, and sizes above what a number holds, are none", () => {
  const start = Buffer.alloc(512);
  start.write("XFSB", 0);
  expect(sizeOfXfs(start, MIB)).toBeUndefined();
  start.writeUInt32BE(4096, 4);
  expect(sizeOfXfs(start, MIB)).toBeUndefined();
  start.writeUInt32BE(100, 84);
  start.writeBigUInt64BE(2n ** 60n, 8);
  expect(sizeOfXfs(start, MIB)).toBeUndefined();
  const block = Buffer.alloc(4096);
  block.write("_BHRfS_M", 0x40, "latin1");
  block.writeBigUInt64LE(2n ** 60n, 0xd1);
  expect(sizeOfBtrfs(block, MIB)).toBeUndefined();
});
