import type { Host } from "../../../src/core/host.ts";
import { crc32c } from "../../../src/states/devices/crc32c.ts";
import { type FileSystemSize, readFileSystemSize } from "../../../src/states/devices/file-system-size.ts";
import { findSignatures, SIGNATURE_SPAN } from "../../../src/states/devices/signatures.ts";
import { readFreshSuperblock } from "../../../src/states/devices/superblock.ts";
import { promise, promisePlain, type Target } from "../target.ts";

const BTRFS_AT = 0x10000;
const BTRFS_BYTES = 4096;
const DEVICE_BYTES = 512 * 1024 * 1024;
const START = 2048;

/** An input is the device's first 2 KiB, then the block where btrfs has its superblock, its checksum made right. */
function deviceOf(bytes: Buffer): Buffer {
  const device = Buffer.alloc(SIGNATURE_SPAN);
  bytes.subarray(0, START).copy(device);
  bytes.subarray(START, START + BTRFS_BYTES).copy(device, BTRFS_AT);
  const block = device.subarray(BTRFS_AT, BTRFS_AT + BTRFS_BYTES);
  if (block.readUInt16LE(0xc4) === 0) block.writeUInt32LE(crc32c(block.subarray(32)), 0);
  return device;
}

function hostOf(device: Buffer): Host {
  const readRange = async (_path: string, at: number, length: number) => {
    promise("reads begin at whole, safe places", Number.isSafeInteger(at) && at >= 0);
    promise("reads are bounded", Number.isSafeInteger(length) && length >= 0 && length <= 1024 * 1024);
    return at >= DEVICE_BYTES ? undefined : device.subarray(at, at + length);
  };
  return { readRange } as unknown as Host;
}

function check({ bytes, possible }: FileSystemSize): void {
  promise("a size is whole, safe and not negative", Number.isSafeInteger(bytes) && bytes >= 0);
  promise("what it may grow to is whole, safe and not less", Number.isSafeInteger(possible) && possible >= bytes);
}

function ext(incompat: number): Buffer {
  const device = Buffer.alloc(START);
  const block = device.subarray(1024);
  block.writeUInt32LE(8192, 0x28);
  block.writeUInt32LE(131_072, 0x4);
  block.writeUInt32LE(2, 0x18);
  block.writeUInt32LE(32_768, 0x20);
  block.writeUInt16LE(0xef53, 0x38);
  block.writeUInt16LE(1, 0x3a);
  block.writeUInt16LE(256, 0x58);
  block.writeUInt32LE(incompat, 0x60);
  block.write("label", 0x78);
  return device;
}

function xfs(): Buffer {
  const device = Buffer.alloc(START);
  device.write("XFSB", 0);
  device.writeUInt32BE(4096, 4);
  device.writeBigUInt64BE(131_072n, 8);
  device.writeBigUInt64BE(16n, 48);
  device.writeUInt32BE(32_768, 84);
  device.writeUInt32BE(1024, 96);
  device[124] = 15;
  return device;
}

function btrfs(): Buffer {
  const block = Buffer.alloc(BTRFS_BYTES);
  block.write("_BHRfS_M", 0x40);
  block.writeUInt32LE(4096, 0x90);
  block.writeBigUInt64LE(BigInt(DEVICE_BYTES), 0xd1);
  return Buffer.concat([Buffer.alloc(START), block]);
}

export const target: Target = {
  covers: [
    "src/states/devices/superblock.ts",
    "src/states/devices/signatures.ts",
    "src/states/devices/btrfs-superblock.ts",
    "src/states/devices/file-system-size.ts",
  ],
  maxBytes: START + BTRFS_BYTES,
  refusals: [],
  dictionary: [
    "LUKS\xba\xbe",
    "XFSB",
    "_BHRfS_M",
    "!BHRfS_M",
    "NTFS    ",
    "\x53\xef",
    "\x55\xaa",
    "FAT32   ",
    "hsqs",
    "\0\0\0\0\0\0\0\0",
  ],
  seeds: () => [ext(0), ext(0x2c2), xfs(), btrfs(), Buffer.alloc(START), ""],
  decode: async (bytes) => {
    const device = deviceOf(bytes);
    const host = hostOf(device);
    promisePlain(findSignatures(device));
    promisePlain(findSignatures(bytes));
    const found = await readFreshSuperblock(host, "/dev/x");
    promise("a label is short", found === undefined || found.label.length <= 256);
    const size = await readFileSystemSize(host, "/dev/x", DEVICE_BYTES, undefined);
    if (size) check(size);
  },
};
