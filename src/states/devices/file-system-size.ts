import type { Host } from "../../core/host.ts";
import { BTRFS_SUPERBLOCK, parseBtrfsSuperblock } from "./btrfs-superblock.ts";
import { parseExtSuperblock, parseXfsSuperblock } from "./superblock.ts";

/** What a file system takes of its device, and what it would after growing, in bytes. */
export interface FileSystemSize {
  readonly fsType: "btrfs" | "ext2" | "ext3" | "ext4" | "xfs";
  readonly bytes: number;
  /** The most that its tools make of the device: a rest too small for a group of its own is left over. */
  readonly possible: number;
}

const EXT_AT = 1024;
const INCOMPAT_64BIT = 0x80;
/** resize2fs: a last group must have room for its own tables and this many blocks. */
const EXT_SPARE_BLOCKS = 50;
/** resize2fs rounds the size of a device down to whole pages (resize/main.c). */
const RESIZE2FS_PAGE = 4096;
/** Linux: no smaller allocation group is made (XFS_MIN_AG_BLOCKS). */
const XFS_MIN_GROUP = 64;
/** Linux: btrfs is never resized to less (fs/btrfs/ioctl.c). */
const BTRFS_MIN_BYTES = 256 * 1024 * 1024;

/** A damaged or made-up superblock may say anything: what is no size is none. */
function sound<T extends FileSystemSize>(size: T): T | undefined {
  return Number.isSafeInteger(size.bytes) && Number.isSafeInteger(size.possible) ? size : undefined;
}

/** Size of ext2/3/4 by the first 2 KiB of its device (Documentation/filesystems/ext4); undefined when it is none, or says nonsense. */
export function sizeOfExt(start: Buffer, deviceBytes: number): FileSystemSize | undefined {
  const fsType = parseExtSuperblock(start)?.fsType;
  if (fsType === undefined) return undefined;
  const block = start.subarray(EXT_AT, EXT_AT + 1024);
  const blockBytes = 1024 * 2 ** block.readUInt32LE(0x18);
  const perGroup = block.readUInt32LE(0x20);
  if (perGroup === 0) return undefined;
  const inodes = block.readUInt32LE(0x28) * (block.readUInt16LE(0x58) || 128);
  const is64Bit = (block.readUInt32LE(0x60) & INCOMPAT_64BIT) !== 0;
  const blocks = block.readUInt32LE(0x4) + (is64Bit ? block.readUInt32LE(0x150) * 2 ** 32 : 0);
  const first = block.readUInt32LE(0x14);
  const unit = Math.max(blockBytes, RESIZE2FS_PAGE);
  const onDevice = Math.floor(deviceBytes / unit) * (unit / blockBytes);
  const descriptor = is64Bit ? block.readUInt16LE(0xfe) || 64 : 32;
  const descriptors = Math.ceil((Math.ceil(onDevice / perGroup) * descriptor) / blockBytes);
  const tables = 3 + Math.ceil(inodes / blockBytes) + descriptors + block.readUInt16LE(0xce);
  const rest = (onDevice - first) % perGroup;
  const possible = rest > 0 && rest < tables + EXT_SPARE_BLOCKS ? onDevice - rest : onDevice;
  return sound({ fsType, bytes: blocks * blockBytes, possible: Math.max(blocks, possible) * blockBytes });
}

/** Size of XFS by the first 512 bytes of its device (xfs_format.h); `log` is what its internal log takes. */
export function sizeOfXfs(start: Buffer, deviceBytes: number): (FileSystemSize & { readonly log: number }) | undefined {
  if (parseXfsSuperblock(start, false) === undefined) return undefined;
  const blockBytes = start.readUInt32BE(4);
  const blocks = Number(start.readBigUInt64BE(8));
  const perGroup = start.readUInt32BE(84);
  if (perGroup === 0) return undefined;
  const log = start.readBigUInt64BE(48) === 0n ? 0 : start.readUInt32BE(96) * blockBytes;
  const onDevice = Math.floor(deviceBytes / blockBytes);
  const rest = onDevice % perGroup;
  const possible = rest > 0 && rest < XFS_MIN_GROUP ? onDevice - rest : onDevice;
  return sound({ fsType: "xfs", bytes: blocks * blockBytes, possible: Math.max(blocks, possible) * blockBytes, log });
}

/** Size of btrfs on one device by its superblock. */
export function sizeOfBtrfs(block: Buffer, deviceBytes: number): FileSystemSize | undefined {
  const found = parseBtrfsSuperblock(block);
  if (found === undefined) return undefined;
  const sector = found.sectorBytes || 4096;
  const onDevice = Math.floor(deviceBytes / sector) * sector;
  const possible = onDevice < BTRFS_MIN_BYTES ? found.deviceBytes : Math.max(found.deviceBytes, onDevice);
  return sound({ fsType: "btrfs", bytes: found.deviceBytes, possible });
}

/**
 * The size of the file system on a device, without a process; undefined when it has none that we know. A mounted XFS is
 * asked through its mount point, since it writes its superblock late and past the cache that we read through.
 */
export async function readFileSystemSize(
  host: Host,
  path: string,
  deviceBytes: number,
  mountPoint: string | undefined,
): Promise<FileSystemSize | undefined> {
  const start = await host.readRange(path, 0, 2048);
  if (start === undefined) return undefined;
  const ext = sizeOfExt(start, deviceBytes);
  if (ext) return ext;
  const xfs = sizeOfXfs(start, deviceBytes);
  if (xfs) {
    const space = mountPoint === undefined ? undefined : await host.space(mountPoint);
    const bytes = space === undefined ? xfs.bytes : space.total + xfs.log;
    return { fsType: "xfs", bytes, possible: Math.max(bytes, xfs.possible) };
  }
  const block = await host.readRange(path, BTRFS_SUPERBLOCK.offset, BTRFS_SUPERBLOCK.size);
  return block && sizeOfBtrfs(block, deviceBytes);
}
