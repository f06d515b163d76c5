import { createHash } from "node:crypto";
import { crc32c } from "./crc32c.ts";
import { formatUuid } from "./signatures.ts";

/** Where the first superblock lies, and how long it is (btrfs on-disk format, btrfs.readthedocs.io). */
export const BTRFS_SUPERBLOCK = { offset: 0x10000, size: 0x1000 } as const;

const MAGIC = "_BHRfS_M";
/** What mkfs writes first, and replaces at its very end: no kernel mounts it. */
const UNFINISHED_MAGIC = "!BHRfS_M";
const CHECKSUM_BYTES = 32;

/** What a btrfs superblock says. */
export interface BtrfsSuperblock {
  readonly uuid: string;
  readonly label: string;
  /** False until mkfs has finished, and when the checksum is wrong. */
  readonly complete: boolean;
  readonly neverMounted: boolean;
  /** Bytes of this very device that the file system uses. */
  readonly deviceBytes: number;
  readonly sectorBytes: number;
}

/** Checksums: 0 is CRC-32C, 2 SHA-256; of the others (xxhash, blake2b) we know none, and take them as right. */
function hasRightChecksum(block: Buffer): boolean {
  const data = block.subarray(CHECKSUM_BYTES);
  const kind = block.readUInt16LE(0xc4);
  if (kind === 0) return block.readUInt32LE(0) === crc32c(data);
  if (kind === 2) return createHash("sha256").update(data).digest().equals(block.subarray(0, CHECKSUM_BYTES));
  return kind === 1 || kind === 3;
}

/** The btrfs superblock in the 4 KiB at BTRFS_SUPERBLOCK; undefined when there is none. */
export function parseBtrfsSuperblock(block: Buffer): BtrfsSuperblock | undefined {
  if (block.length < BTRFS_SUPERBLOCK.size) return undefined;
  const magic = block.toString("latin1", 0x40, 0x48);
  if (magic !== MAGIC && magic !== UNFINISHED_MAGIC) return undefined;
  const sound = hasRightChecksum(block);
  const finished = magic === MAGIC;
  return {
    uuid: formatUuid(block.subarray(0x20, 0x30)),
    label: block.toString("utf8", 0x12b, 0x12b + 256).replace(/\0.*$/su, ""),
    complete: finished && sound,
    neverMounted: !finished,
    // the device item begins at 0xc9: its number, then its bytes
    deviceBytes: Number(block.readBigUInt64LE(0xd1)),
    sectorBytes: block.readUInt32LE(0x90),
  };
}
