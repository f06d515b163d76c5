import type { Host } from "../../core/host.ts";
import { BTRFS_SUPERBLOCK, parseBtrfsSuperblock } from "./btrfs-superblock.ts";
import { formatUuid } from "./signatures.ts";

const EXT_AT = 1024;
const EXT_MAGIC = 0xef53;
const COMPAT_HAS_JOURNAL = 0x4;
/** s_state: cleanly unmounted; errors were detected. */
const EXT_VALID = 1;
const EXT_ERRORS = 2;
/** extents, 64bit, flex_bg, meta_bg: what only ext4 has. */
const INCOMPAT_EXT4 = 0x40 | 0x80 | 0x200;

/** A file system's superblock. */
export interface Superblock {
  readonly fsType: "btrfs" | "ext2" | "ext3" | "ext4" | "xfs";
  readonly uuid: string;
  readonly label: string;
  /** False until mkfs has finished writing it, where the superblock says so; that of ext2/3/4 never does. */
  readonly complete: boolean;
  /** Whether it was not unmounted cleanly, or has errors, and a check is due (ext2/3/4: s_state). */
  readonly unclean?: boolean;
  /** True when the superblock proves that the file system was never mounted for writing, so that nothing is in it. */
  readonly neverMounted: boolean;
}

const labelOf = (bytes: Buffer): string => bytes.toString("utf8").replace(/\0.*$/su, "");

function extType(compat: number, incompat: number): "ext2" | "ext3" | "ext4" {
  if (incompat & INCOMPAT_EXT4) return "ext4";
  return compat & COMPAT_HAS_JOURNAL ? "ext3" : "ext2";
}

/** The ext2/3/4 superblock in a device's first 2 KiB (kernel Documentation/filesystems/ext4/super.rst). */
export function parseExtSuperblock(start: Buffer): Superblock | undefined {
  if (start.length < EXT_AT + 1024) return undefined;
  const block = start.subarray(EXT_AT, EXT_AT + 1024);
  if (block.readUInt16LE(0x38) !== EXT_MAGIC) return undefined;
  return {
    fsType: extType(block.readUInt32LE(0x5c), block.readUInt32LE(0x60)),
    uuid: formatUuid(block.subarray(0x68, 0x78)),
    label: labelOf(block.subarray(0x78, 0x88)),
    complete: true,
    unclean: (block.readUInt16LE(0x3a) & (EXT_VALID | EXT_ERRORS)) !== EXT_VALID,
    neverMounted: block.readUInt16LE(0x34) === 0 && block.readUInt32LE(0x2c) === 0,
  };
}

/** The XFS superblock in a device's first 512 bytes (xfs_format.h, big-endian); `logIsFresh` is read elsewhere. */
export function parseXfsSuperblock(start: Buffer, logIsFresh: boolean): Superblock | undefined {
  if (start.length < 512 || start.toString("latin1", 0, 4) !== "XFSB") return undefined;
  return {
    fsType: "xfs",
    uuid: formatUuid(start.subarray(32, 48)),
    label: labelOf(start.subarray(108, 120)),
    complete: start[126] === 0,
    neverMounted: start[126] !== 0 || logIsFresh,
  };
}

/** Where an XFS file system's internal log lies, in bytes; undefined for an external log or nonsense. */
export function locateXfsLog(start: Buffer): number | undefined {
  const blockBytes = start.readUInt32BE(4);
  const logBlock = start.readBigUInt64BE(48);
  const groupBlocks = BigInt(start.readUInt32BE(84));
  const groupLog = BigInt(start[124] ?? 0);
  if (logBlock === 0n || groupBlocks === 0n || groupLog > 31n) return undefined;
  // a block number is the allocation group in the high bits and the block within it in the low ones
  const block = (logBlock >> groupLog) * groupBlocks + (logBlock & ((1n << groupLog) - 1n));
  const offset = Number(block) * blockBytes;
  return Number.isSafeInteger(offset) ? offset : undefined;
}

/** mkfs writes one record at the log's start; the first mount writes on behind it. */
const FRESH_LOG_FROM = 256 * 1024;
const FRESH_LOG_SPAN = 512 * 1024;
const MKFS_LOG_RECORD = 1024;

async function hasFreshLog(host: Host, path: string, start: Buffer): Promise<boolean> {
  const at = locateXfsLog(start);
  if (at === undefined) return false;
  const span = await host.readRange(path, at + MKFS_LOG_RECORD, FRESH_LOG_SPAN - MKFS_LOG_RECORD);
  return span !== undefined && span.length > FRESH_LOG_FROM && span.every((byte) => byte === 0);
}

/** The ext2/3/4, xfs or btrfs superblock of a device; undefined when there is none of these. */
export async function readSuperblock(host: Host, path: string): Promise<Superblock | undefined> {
  const start = await host.readRange(path, 0, 2048);
  if (start === undefined) return undefined;
  const ext = parseExtSuperblock(start);
  const first = ext ?? parseXfsSuperblock(start, false);
  if (first) return first;
  const block = await host.readRange(path, BTRFS_SUPERBLOCK.offset, BTRFS_SUPERBLOCK.size);
  const btrfs = block && parseBtrfsSuperblock(block);
  return btrfs && { ...btrfs, fsType: "btrfs" };
}

/** As `readSuperblock`, and for xfs also whether its log proves that it was never mounted. */
export async function readFreshSuperblock(host: Host, path: string): Promise<Superblock | undefined> {
  const superblock = await readSuperblock(host, path);
  if (superblock?.fsType !== "xfs") return superblock;
  const start = await host.readRange(path, 0, 512);
  return start && parseXfsSuperblock(start, await hasFreshLog(host, path, start));
}
