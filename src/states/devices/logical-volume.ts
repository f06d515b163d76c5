import type { Host, RunOptions } from "../../core/host.ts";
import { dashLvmUuid } from "./base62-uuid.ts";
import { findUse } from "./blank.ts";
import {
  type BlockDevice,
  busyDevice,
  findMapping,
  missingDevice,
  readBlockDevice,
  readDeviceSize,
} from "./block-device.ts";
import { swappedDevice } from "./held-device.ts";
import { findVolumeGroup } from "./lvm-scan.ts";

/** A logical volume that there is. */
export interface ExistingVolume {
  /** As LVM's tools print it. A volume that was removed and made anew under its name has another one. */
  readonly uuid: string;
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

/** UUIDs of group and logical volume in the UUID of the mapping: `LVM-<group><volume>`, 32 characters each. */
export function lvmUuidsOf(mappingUuid: string): { readonly group: string; readonly volume: string } {
  const [, group = "", volume = ""] = /^LVM-(.{32})(.{32})/u.exec(mappingUuid) ?? [];
  return { group: dashLvmUuid(group), volume: dashLvmUuid(volume) };
}

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
    const { volume: uuid } = lvmUuidsOf(mapping.uuid);
    return { uuid, active, kernelName, bytes: await readDeviceSize(host, kernelName), extentBytes: 0 };
  }
  const found = await findVolumeGroup(host, group);
  if (found === undefined) {
    throw missingDevice(`cannot find volume group "${group}": no disk of this machine has it`, group);
  }
  const volume = found.volumes.find((other) => other.name === name);
  if (volume === undefined) return undefined;
  const { extentBytes } = found;
  const { uuid } = volume;
  return { uuid, active: false, kernelName: undefined, bytes: volume.extents * extentBytes, extentBytes };
}

/** A logical volume by its names, and which one of that name is meant. */
export interface NamedVolume {
  readonly group: string;
  readonly name: string;
  readonly uuid: string;
}

/** UUID of the active volume of that name, read in /sys alone; undefined when none is. */
export async function activeUuid(host: Host, group: string, name: string): Promise<string | undefined> {
  const mapping = await findMapping(host, `${doubleDashes(group)}-${doubleDashes(name)}`);
  return mapping?.uuid.startsWith("LVM-") === true ? lvmUuidsOf(mapping.uuid).volume : undefined;
}

/** Throws HostError `device-swapped` when the volume of that name is another one now. `what` says what was done, or was not. */
export function assertSameVolume({ group, name, uuid }: NamedVolume, now: string | undefined, what: string): void {
  if (now === undefined || now === uuid) return;
  throw swappedDevice(logicalVolumePath(group, name), `volume ${uuid}`, `volume ${now}`, what);
}

/**
 * Activates or deactivates a logical volume: LVM itself passes over one of that name with another UUID. Throws HostError
 * `device-swapped` when the one that has the name is not in that state afterwards.
 */
export async function setActive(
  host: Host,
  volume: NamedVolume,
  isWanted: boolean,
  options: Pick<RunOptions, "signal"> = {},
): Promise<void> {
  const { group, name, uuid } = volume;
  const which = ["--select", `lv_uuid=${uuid}`, "--", `${group}/${name}`];
  await host.run(["lvchange", "--activate", isWanted ? "y" : "n", ...which], options);
  assertSameVolume(volume, await activeUuid(host, group, name), `it was not ${isWanted ? "activated" : "deactivated"}`);
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
