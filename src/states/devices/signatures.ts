/** Something on a device that says that somebody uses it. */
export interface Signature {
  /** As blkid(8) names it, such as `ext4`, `crypto_LUKS`, `gpt`. */
  readonly kind: string;
  readonly label: string;
  readonly uuid: string;
}

interface Magic {
  readonly kind: string;
  readonly offset: number;
  readonly bytes: string;
}

/** Bytes of a device's start that `findSignatures` needs: up to the last signature (btrfs at 64 KiB, zfs labels). */
export const SIGNATURE_SPAN = 0x44000;

const ascii = (text: string): string => Buffer.from(text, "latin1").toString("hex");

/** Magic numbers at fixed places (libblkid/src/superblocks and partitions). */
const MAGICS: readonly Magic[] = [
  { kind: "crypto_LUKS", offset: 0, bytes: `${ascii("LUKS")}babe` },
  { kind: "crypto_LUKS", offset: 0x4000, bytes: `${ascii("SKUL")}babe` },
  { kind: "LVM2_member", offset: 0, bytes: ascii("LABELONE") },
  { kind: "LVM2_member", offset: 512, bytes: ascii("LABELONE") },
  { kind: "LVM2_member", offset: 1024, bytes: ascii("LABELONE") },
  { kind: "LVM2_member", offset: 1536, bytes: ascii("LABELONE") },
  { kind: "xfs", offset: 0, bytes: ascii("XFSB") },
  { kind: "btrfs", offset: 0x10040, bytes: ascii("_BHRfS_M") },
  { kind: "bcachefs", offset: 0x1018, bytes: "c68573f64e1a45ca8265f57f48ba6d81" },
  { kind: "bcachefs", offset: 0x1018, bytes: "c68573f666ce90a9d96a60cf803df7ef" },
  { kind: "f2fs", offset: 1024, bytes: "1020f5f2" },
  { kind: "ntfs", offset: 3, bytes: ascii("NTFS    ") },
  { kind: "exfat", offset: 3, bytes: ascii("EXFAT   ") },
  { kind: "vfat", offset: 54, bytes: ascii("FAT1") },
  { kind: "vfat", offset: 82, bytes: ascii("FAT32   ") },
  { kind: "BitLocker", offset: 3, bytes: ascii("-FVE-FS-") },
  { kind: "iso9660", offset: 0x8001, bytes: ascii("CD001") },
  { kind: "udf", offset: 0x8001, bytes: ascii("BEA01") },
  { kind: "squashfs", offset: 0, bytes: ascii("hsqs") },
  { kind: "erofs", offset: 1024, bytes: "e2e1f5e0" },
  { kind: "jfs", offset: 0x8000, bytes: ascii("JFS1") },
  { kind: "reiserfs", offset: 0x10034, bytes: ascii("ReIsEr") },
  { kind: "linux_raid_member", offset: 0, bytes: "fc4e2ba9" },
  { kind: "linux_raid_member", offset: 4096, bytes: "fc4e2ba9" },
  { kind: "bcache", offset: 0x1018, bytes: "c68573f64e1a45ca8265f57f48ba6d81" },
  { kind: "zfs_member", offset: 0x20000, bytes: "0cb1ba0000000000" },
  { kind: "zfs_member", offset: 0x21000, bytes: "0cb1ba0000000000" },
  { kind: "drbd", offset: 0, bytes: "8374026d" },
  { kind: "gpt", offset: 512, bytes: ascii("EFI PART") },
  { kind: "gpt", offset: 4096, bytes: ascii("EFI PART") },
  { kind: "swap", offset: 4086, bytes: ascii("SWAPSPACE2") },
  { kind: "swap", offset: 4086, bytes: ascii("SWAP-SPACE") },
  { kind: "swsuspend", offset: 4086, bytes: ascii("S1SUSPEND") },
];

/** A UUID as text from its 16 bytes. */
export function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}

const holds = (start: Buffer, { offset, bytes }: Magic): boolean =>
  start.toString("hex", offset, offset + bytes.length / 2) === bytes;

/** A partition table of the old kind: the boot signature and at least one entry that is in use and well formed. */
function hasMbr(start: Buffer): boolean {
  if (start.length < 512 || start.readUInt16LE(510) !== 0xaa55) return false;
  return [446, 462, 478, 494].some((at) => {
    const flag = start[at] ?? 1;
    return (flag === 0 || flag === 0x80) && start[at + 4] !== 0 && start.readUInt32LE(at + 12) !== 0;
  });
}

/**
 * Known signatures in the first bytes of a device (up to SIGNATURE_SPAN of them), besides the ext family, xfs details and
 * LUKS labels that have readers of their own.
 */
export function findSignatures(start: Buffer): readonly Signature[] {
  const kinds = new Set(MAGICS.filter((magic) => holds(start, magic)).map(({ kind }) => kind));
  if (hasMbr(start) && !kinds.has("gpt")) kinds.add("dos");
  return [...kinds].map((kind) => ({ kind, label: "", uuid: "" }));
}
