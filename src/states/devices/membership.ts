import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { BlockDevice } from "./block-device.ts";
import { findMemberSignature, type Signature } from "./signatures.ts";

/** What a device is only a part of. */
export interface Membership {
  /** As the end of a sentence: `is a member of array "host:9" (linux_raid_member), which is not assembled`. */
  readonly finding: string;
  readonly hint: string;
}

/** Suffix of the mapping's UUID, or of its name, of what LVM makes a volume of: legs, snapshots' and caches' parts (lib/activate). */
const LVM_PART_UUID = /^LVM-.{64}-(?:real|cow|cdata|cmeta|cvol|tdata|tmeta|pool|mimage|rimage)$/u;
const LVM_PART_NAME = /_(?:rimage|mimage|rmeta|mlog|corig|cdata|tdata)(?:_\d+)?$/u;

async function findMultipath(host: Host, { number }: BlockDevice): Promise<boolean> {
  // udev(7): what its rules found out about a device; only multipath itself can tell a path from a disk
  const text = (await host.readFile(`/run/udev/data/b${number}`))?.toString("utf8") ?? "";
  return /^E:(?:DM_MULTIPATH_DEVICE_PATH=1|ID_FS_TYPE=mpath_member)$/mu.test(text);
}

function describe({ kind, label, uuid }: Signature): Membership {
  const detail = uuid === "" ? kind : `${kind}, UUID ${uuid}`;
  if (kind === "drbd") {
    return {
      finding: "is the backing device of a DRBD resource, which is not up",
      hint: "bring its resource up and declare /dev/drbd<n>: drbdadm up all; metadata that nothing uses any more: drbdadm wipe-md",
    };
  }
  return {
    finding: `is a member of array ${label === "" ? "" : `"${label}" `}(${detail}), which is not assembled`,
    hint: "assemble it: mdadm --assemble --scan; a signature that no array uses any more: mdadm --zero-superblock",
  };
}

/**
 * What shows on this device although it belongs to something above it that is to be used in its place: members of arrays, backing
 * devices of DRBD, paths of a multipath device, legs of a logical volume. Undefined for a device that stands for itself. Reads only.
 */
export async function findMembership(host: Host, device: BlockDevice): Promise<Membership | undefined> {
  const { mapping, path, bytes } = device;
  if (mapping !== undefined && (LVM_PART_UUID.test(mapping.uuid) || isLeg(mapping))) {
    return { finding: `is a part of a logical volume (${mapping.name})`, hint: "activate the logical volume itself" };
  }
  if (await findMultipath(host, device)) {
    return { finding: "is one path of a multipath device", hint: "see why its map is not there: multipath -ll" };
  }
  const signature = await findMemberSignature(bytes, (at, length) => host.readRange(path, at, length));
  return signature && describe(signature);
}

const isLeg = ({ uuid, name }: { readonly uuid: string; readonly name: string }): boolean =>
  uuid.startsWith("LVM-") && LVM_PART_NAME.test(name);

/** The refusal of a member. `act`: "open". */
export function memberRefusal(path: string, act: string, { finding, hint }: Membership): HostError {
  return new HostError("device-missing", `cannot ${act} "${path}": it ${finding}; nothing was changed`, {
    hint,
    facts: { path, finding },
  });
}

/** Throws HostError `device-missing` naming what is not there for a device that is only a part of it. */
export async function assertNoMember(host: Host, device: BlockDevice, act: string): Promise<void> {
  const membership = await findMembership(host, device);
  if (membership !== undefined) throw memberRefusal(device.path, act, membership);
}
