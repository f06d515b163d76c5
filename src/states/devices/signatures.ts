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

/** Where a signature of what a device is a part of may lie, and how it reads; `at` in bytes. */
interface MemberPlace {
  readonly at: number;
  readonly read: (block: Buffer) => Signature | undefined;
}

/** Bytes that are read at each of those places. */
const MEMBER_SPAN = 512;
const MD_MAGIC = 0xa92b4efc;
const MD_RESERVED = 64 * 1024;

/** A superblock of md 0.90 (md(4); Linux md_p.h); an array of before kernels' names has its minor number as one. */
function readMd090(block: Buffer): Signature | undefined {
  if (block.readUInt32LE(0) !== MD_MAGIC || block.readUInt32LE(4) !== 0) return undefined;
  const uuid = Buffer.concat([block.subarray(20, 24), block.subarray(52, 64)]);
  return { kind: "linux_raid_member", label: `md${block.readUInt32LE(44)}`, uuid: formatUuid(uuid) };
}

/** A superblock of md 1.0, 1.1 or 1.2, which says itself where it lies: one of an array inside a disk's image is none. */
function readMd1(block: Buffer, at: number): Signature | undefined {
  if (block.readUInt32LE(0) !== MD_MAGIC || block.readUInt32LE(4) !== 1) return undefined;
  if (block.readBigUInt64LE(144) !== BigInt(at / 512)) return undefined;
  const label = block.toString("utf8", 32, 64).replace(/\0.*$/su, "");
  return { kind: "linux_raid_member", label, uuid: formatUuid(block.subarray(16, 32)) };
}

/** Internal metadata of DRBD 8.3, 8.4 (also unclean) and 9, big-endian, behind 60 bytes (drbdmeta.c). */
function readDrbd(block: Buffer): Signature | undefined {
  const magics = [0x8374026b, 0x8374026c, 0x8374026d];
  return magics.includes(block.readUInt32BE(60)) ? { kind: "drbd", label: "", uuid: "" } : undefined;
}

const plain =
  (kind: string, bytes: string) =>
  (block: Buffer): Signature | undefined =>
    block.toString("hex", 0, bytes.length / 2) === bytes ? { kind, label: "", uuid: "" } : undefined;

/**
 * Where the signatures of members of something larger lie on a device of that size: md 1.1 at its start, 1.2 behind 4 KiB, 1.0 8 to 12
 * KiB before its end, 0.90 64 to 128 KiB before it (md(4)), DRBD in the last 4 KiB (drbd.conf(5), `meta-disk internal`), firmware RAID in the
 * last two sectors (libblkid/src/superblocks).
 */
function memberPlaces(bytes: number): readonly MemberPlace[] {
  const sectors = Math.floor(bytes / 512);
  const md1 = [0, 4096, Math.floor((sectors - 16) / 8) * 8 * 512];
  const places: MemberPlace[] = [
    ...md1.map((at) => ({ at, read: (block: Buffer) => readMd1(block, at) })),
    { at: Math.floor(bytes / MD_RESERVED) * MD_RESERVED - MD_RESERVED, read: readMd090 },
    { at: Math.floor(bytes / 4096) * 4096 - 4096, read: readDrbd },
    { at: (sectors - 1) * 512, read: plain("ddf_raid_member", "de11de11") },
    { at: (sectors - 2) * 512, read: plain("isw_raid_member", ascii("Intel Raid ISM Cfg Sig. ")) },
  ];
  return places.filter(({ at }) => at >= 0 && at + MEMBER_SPAN <= bytes);
}

/**
 * The signature of an array, mirror or the like that the device is a member of; undefined for none. Such a device shows what its array
 * shows: only the array is to be used. `read` gives bytes of the device at an offset. A Signature's label is the array's own name.
 */
export async function findMemberSignature(
  bytes: number,
  read: (offset: number, length: number) => Promise<Buffer | undefined>,
): Promise<Signature | undefined> {
  for (const place of memberPlaces(bytes)) {
    const block = await read(place.at, MEMBER_SPAN);
    const found = block?.length === MEMBER_SPAN ? place.read(block) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
