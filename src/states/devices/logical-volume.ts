import type { Host } from "../../core/host.ts";
import { findUse } from "./blank.ts";
import {
  type BlockDevice,
  busyDevice,
  findMapping,
  missingDevice,
  readBlockDevice,
  readDeviceSize,
} from "./block-device.ts";
import { findVolumeGroup } from "./lvm-scan.ts";

/** A logical volume that there is. */
export interface ExistingVolume {
  /** Whether its node can be used. */
  readonly active: boolean;
  /** The kernel's name of its mapping; undefined when it is not active. */
  readonly kernelName: string | undefined;
  readonly bytes: number;
  /** 0 for an active one, whose group was not read. */
  readonly extentBytes: number;
}

/** Where an active logical volume is. */
export const logicalVolumePath = (group: string, name: string): string => `/dev/${group}/${name}`;

const doubleDashes = (name: string): string => name.replaceAll("-", "--");

/**
 * The logical volume of that name, undefined when its group has none. An active one is found in /sys alone; only for
 * one that is not are the disks read. Throws HostError `device-missing` when no disk has the group.
 */
export async function findLogicalVolume(host: Host, group: string, name: string): Promise<ExistingVolume | undefined> {
  const mapping = await findMapping(host, `${doubleDashes(group)}-${doubleDashes(name)}`);
  if (mapping?.uuid.startsWith("LVM-") === true) {
    const { kernelName } = mapping;
    const active = (await host.stat(logicalVolumePath(group, name))) !== undefined;
    return { active, kernelName, bytes: await readDeviceSize(host, kernelName), extentBytes: 0 };
  }
  const found = await findVolumeGroup(host, group);
  if (found === undefined) {
    throw missingDevice(`cannot find volume group "${group}": no disk of this machine has it`, group);
  }
  const volume = found.volumes.find((other) => other.name === name);
  if (volume === undefined) return undefined;
  const { extentBytes } = found;
  return { active: false, kernelName: undefined, bytes: volume.extents * extentBytes, extentBytes };
}

/** The device of an active logical volume, also when its node is missing. Throws HostError `device-missing`. */
export async function requireLogicalVolume(
  host: Host,
  group: string,
  name: string,
  kernelName: string,
): Promise<BlockDevice> {
  const path = logicalVolumePath(group, name);
  const device = (await readBlockDevice(host, path)) ?? (await readBlockDevice(host, `/dev/${kernelName}`));
  if (device === undefined) throw missingDevice(`cannot find the device of "${path}"`, path);
  return device;
}

/**
 * As `findLogicalVolume`, for what takes a volume away: undefined also when there is no such group. Throws HostError
 * `device-busy` when something uses the volume. `act`: "deactivate".
 */
export async function findUnusedVolume(
  host: Host,
  group: string,
  name: string,
  act: string,
): Promise<ExistingVolume | undefined> {
  const isActive = (await host.stat(logicalVolumePath(group, name))) !== undefined;
  if (!isActive && (await findVolumeGroup(host, group)) === undefined) return undefined;
  const volume = await findLogicalVolume(host, group, name);
  if (volume?.kernelName === undefined) return volume;
  const use = await findUse(host, await requireLogicalVolume(host, group, name, volume.kernelName));
  if (use !== undefined) throw busyDevice(logicalVolumePath(group, name), act, use);
  return volume;
}
