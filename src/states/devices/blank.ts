import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { type BlockDevice, describeKernelName, wrongDevice } from "./block-device.ts";
import type { CheckContext } from "../state.ts";
import { findUnreadable } from "./fresh-mapping.ts";
import { readLuksHeader } from "./luks-header.ts";
import { parseLvmLabel } from "./lvm-label.ts";
import { readVolumeGroup } from "./lvm-metadata.ts";
import { findMembership } from "./membership.ts";
import { findMountOf, readSwaps } from "./mount-table.ts";
import { findSignatures, SIGNATURE_SPAN } from "./signatures.ts";
import { readSuperblock } from "./superblock.ts";

const FILE_SYSTEMS: ReadonlySet<string> = new Set(
  "ext2 ext3 ext4 xfs btrfs bcachefs f2fs ntfs exfat vfat iso9660 udf squashfs erofs jfs reiserfs".split(" "),
);
const TABLES: ReadonlySet<string> = new Set(["gpt", "dos", "PMBR", "sun", "sgi", "bsd", "mac", "atari"]);
/** blkid(8): nothing found; also wipefs. */
const BLKID_NOTHING = 2;
const BLKID_AMBIVALENT = 8;

function describe(kind: string, label: string, uuid: string): string {
  const detail = `${label ? ` labelled "${label}"` : ""}${uuid ? ` (uuid ${uuid})` : ""}`;
  if (FILE_SYSTEMS.has(kind)) return `has a file system: ${kind}${detail}`;
  if (TABLES.has(kind)) return `has a partition table: ${kind}${detail}`;
  if (kind === "swap") return `is swap space${detail}`;
  if (kind === "crypto_LUKS") return `has a LUKS header${detail}`;
  return `has a signature: ${kind}${detail}`;
}

/** How the device is in use right now: mounted, swap, held, partitioned; undefined when it is not. */
export async function findUse(host: Host, device: BlockDevice): Promise<string | undefined> {
  const mount = await findMountOf(host, device);
  if (mount) return `is mounted on "${mount.mountPoint}"`;
  for (const path of await readSwaps(host)) {
    const stat = await host.stat(path);
    if (stat?.rdev === device.number) return "is in use as swap";
  }
  const [holder] = device.holders;
  if (holder !== undefined) return `is in use by ${await describeKernelName(host, holder)}`;
  if (device.partitions.length > 0) return `has partitions: ${device.partitions.join(", ")}`;
  return undefined;
}

async function findKnown(host: Host, device: BlockDevice): Promise<string | undefined> {
  const membership = await findMembership(host, device);
  if (membership !== undefined) return membership.finding;
  const start = (await host.readRange(device.path, 0, SIGNATURE_SPAN)) ?? Buffer.alloc(0);
  const label = parseLvmLabel(start);
  if (label.kind === "valid") {
    const group = await readVolumeGroup(host, device.path, label.label);
    const of = group === undefined ? "of no volume group yet" : `of volume group "${group.name}" (uuid ${group.uuid})`;
    return `is an LVM physical volume ${of}`;
  }
  const superblock = await readSuperblock(host, device.path);
  if (superblock) return describe(superblock.fsType, superblock.label, superblock.uuid);
  const luks = await readLuksHeader(host, device.path);
  if (luks.kind === "valid") return describe("crypto_LUKS", luks.header.label, luks.header.uuid);
  if (luks.kind === "damaged") return "has a damaged LUKS header";
  const [signature] = findSignatures(start);
  if (signature) return describe(signature.kind, signature.label, signature.uuid);
  // the second copy of a partition table lies in the last sector
  for (const sector of [512, 4096]) {
    const end = await host.readRange(device.path, Math.max(0, device.bytes - sector), 8);
    if (end?.toString("latin1") === "EFI PART") return describe("gpt", "", "");
  }
  return undefined;
}

async function findByBlkid(host: Host, device: BlockDevice): Promise<string | undefined> {
  const okCodes = [0, BLKID_NOTHING, BLKID_AMBIVALENT];
  const { exitCode, stdout } = await host.run(["blkid", "-p", "-o", "export", "--", device.path], { okCodes });
  if (exitCode === BLKID_AMBIVALENT) return "has several signatures at once";
  if (exitCode === BLKID_NOTHING) return undefined;
  const tags = new Map(stdout.split("\n").map((line) => [line.split("=", 1)[0], line.slice(line.indexOf("=") + 1)]));
  const kind = tags.get("TYPE") ?? tags.get("PTTYPE");
  // what is left then are facts of the device itself, such as the partition entry that it is
  return kind === undefined ? undefined : describe(kind, tags.get("LABEL") ?? "", tags.get("UUID") ?? "");
}

async function findByWipefs(host: Host, device: BlockDevice): Promise<string | undefined> {
  const { stdout } = await host.run(["wipefs", "--no-act", "--parsable", "--", device.path]);
  const line = stdout.split("\n").find((text) => text !== "" && !text.startsWith("#"));
  if (line === undefined) return undefined;
  const [, uuid = "", label = "", kind = "unknown"] = line.split(",");
  return describe(kind, label, uuid);
}

/**
 * What speaks against the device being blank, as the end of a sentence ("has a file system: ext4 …"); undefined only
 * when our own readers, blkid and wipefs find no signature and nothing holds, mounts or swaps to it (I2).
 */
export async function findContents(host: Host, device: BlockDevice): Promise<string | undefined> {
  return (
    (await findUse(host, device)) ??
    (await findKnown(host, device)) ??
    (await findByBlkid(host, device)) ??
    (await findByWipefs(host, device))
  );
}

/** The refusal of I2: what was to be done, and what was found. */
export function refusal(device: BlockDevice, finding: string, act: string): HostError {
  return wrongDevice(`cannot ${act} "${device.path}": it ${finding}; nothing was changed`, device.path, finding);
}

/**
 * Throws HostError `wrong-device` naming what was found unless the device is provably blank (I2), and `unknown-content` for an open
 * encrypted device that this machine did not just make. `act`: "format".
 */
export async function assertBlank(
  context: Pick<CheckContext, "host" | "pending">,
  device: BlockDevice,
  act: string,
): Promise<void> {
  const finding = await findContents(context.host, device);
  if (finding !== undefined) throw refusal(device, finding, act);
  const unreadable = await findUnreadable(context, device);
  if (unreadable !== undefined) {
    throw new HostError("unknown-content", `cannot ${act} "${device.path}": it ${unreadable}; nothing was changed`, {
      hint: "where it is known to hold nothing, make what belongs there by hand (mkfs); else compare its header: latchkey volume check",
      facts: { path: device.path, finding: unreadable },
    });
  }
  if (device.readOnly) throw wrongDevice(`cannot ${act} "${device.path}": it is read-only`, device.path, "read-only");
}
