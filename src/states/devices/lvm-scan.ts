import { HostError, ProtocolError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { listBlockDevices, readDeviceSize } from "./block-device.ts";
import { type LabelFinding, readLvmLabel } from "./lvm-label.ts";
import { readVolumeGroup, type VolumeGroup } from "./lvm-metadata.ts";

/** Memory, floppies and optical drives: nothing that holds volume groups, and slow to ask. */
export const SKIPPED_DEVICES = /^(?:ram|zram|fd|sr|mtdblock)\d/u;

/** A volume group found on this machine. */
export interface FoundGroup extends VolumeGroup {
  /** Paths of the physical volumes that were seen. */
  readonly devices: readonly string[];
}

/** The label of a device; one that cannot be read at all has none that matters. */
async function tryReadLabel(host: Host, path: string): Promise<LabelFinding> {
  try {
    return await readLvmLabel(host, path);
  } catch (error) {
    if (error instanceof HostError) return { kind: "none" };
    throw error;
  }
}

async function tryReadGroup(host: Host, path: string): Promise<VolumeGroup | undefined> {
  const finding = await tryReadLabel(host, path);
  if (finding.kind !== "valid") return undefined;
  try {
    return await readVolumeGroup(host, path, finding.label);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/**
 * Every volume group on this machine, by reading the labels of all block devices; no process is started. Of several
 * copies of a group's metadata the latest counts. Damaged metadata is passed over: LVM's own tools repair it.
 */
export async function scanVolumeGroups(host: Host): Promise<readonly FoundGroup[]> {
  const found = new Map<string, FoundGroup>();
  for (const kernelName of await listBlockDevices(host)) {
    if (SKIPPED_DEVICES.test(kernelName) || (await readDeviceSize(host, kernelName)) === 0) continue;
    const path = `/dev/${kernelName.replaceAll("!", "/")}`;
    const group = await tryReadGroup(host, path);
    if (group === undefined) continue;
    const before = found.get(group.uuid);
    const latest = before && before.sequence > group.sequence ? before : group;
    found.set(group.uuid, { ...latest, devices: [...(before?.devices ?? []), path] });
  }
  return [...found.values()];
}

/**
 * The volume group of that name, undefined when there is none. Throws HostError `ambiguous-volume-group` when two
 * different groups have the name.
 */
export async function findVolumeGroup(host: Host, name: string): Promise<FoundGroup | undefined> {
  const [group, other] = (await scanVolumeGroups(host)).filter((found) => found.name === name);
  if (group && other) {
    const places = [group, other].map(({ uuid, devices }) => `${uuid} on ${devices.join(", ")}`).join("; ");
    throw new HostError("ambiguous-volume-group", `cannot tell which volume group "${name}" is meant: ${places}`, {
      hint: "rename one of them: vgrename <uuid> <name>",
    });
  }
  return group;
}
