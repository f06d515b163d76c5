import { setTimeout as delay } from "node:timers/promises";
import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { type DeviceIdentity, readDeviceIdentity } from "./device-identity.ts";

const SYS_BLOCK = "/sys/class/block";
const SECTOR = 512;

/** What device-mapper says about one of its devices. */
export interface DeviceMapping {
  readonly name: string;
  /** Such as `CRYPT-LUKS2-<uuid>-<name>` or `LVM-<VG uuid><LV uuid>`; "" for none. */
  readonly uuid: string;
}

/** A block device as the kernel knows it, whatever name it was asked by. */
export interface BlockDevice {
  /** As asked for. */
  readonly path: string;
  /** The kernel's name, such as `sda1` or `dm-0`. */
  readonly kernelName: string;
  /** `major:minor`. */
  readonly number: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  /** Kernel names of the devices that are stacked on this one. */
  readonly holders: readonly string[];
  /** Kernel names of the partitions that the kernel sees in it. */
  readonly partitions: readonly string[];
  readonly mapping: DeviceMapping | undefined;
  /** File behind a loop device. */
  readonly backingFile: string | undefined;
  /** Tells it from other devices also when names change; the best that the kernel knows. */
  readonly identity: string;
  /** Tells this very device from any other that comes to have its name or number while this machine runs. */
  readonly identified: DeviceIdentity;
}

/** The error of a device, or a layer in it, that is not there yet; in a test run an earlier state may be about to make it. */
export function missingDevice(what: string, path: string): HostError {
  return new HostError("device-missing", what, { facts: { path } });
}

/** The error of a device that holds or is something else than it should. */
export function wrongDevice(what: string, path: string, finding: string): HostError {
  return new HostError("wrong-device", what, { facts: { path, finding } });
}

/** The error of a device that something still uses. `finding` ends the sentence: `is mounted on "/data"`. */
export function busyDevice(path: string, act: string, finding: string): HostError {
  return new HostError("device-busy", `cannot ${act} "${path}": it ${finding}`, { facts: { path, finding } });
}

async function readAttribute(host: Host, path: string): Promise<string | undefined> {
  return (await host.readFile(path))?.toString("utf8").trim();
}

/** The device-mapper device in a directory of /sys; undefined when it is none. */
export async function readMapping(host: Host, directory: string): Promise<DeviceMapping | undefined> {
  const name = await readAttribute(host, `${directory}/dm/name`);
  if (name === undefined) return undefined;
  return { name, uuid: (await readAttribute(host, `${directory}/dm/uuid`)) ?? "" };
}

async function readIdentity(host: Host, kernelName: string, directory: string, size: string): Promise<string> {
  const partition = await readAttribute(host, `${directory}/partition`);
  const disk = partition === undefined ? directory : directory.slice(0, directory.lastIndexOf("/"));
  const suffix = partition === undefined ? size : `${partition}:${size}`;
  for (const attribute of ["wwid", "device/wwid", "device/serial", "serial"]) {
    const value = await readAttribute(host, `${disk}/${attribute}`);
    if (value) return `${value.replaceAll(/\s+/gu, "_")}:${suffix}`;
  }
  return `${kernelName}:${suffix}`;
}

/**
 * Looks a block device up by any of its names (links are followed). Undefined when there is nothing at the path; throws
 * HostError `wrong-device` when what is there is no block device.
 */
export async function readBlockDevice(host: Host, path: string): Promise<BlockDevice | undefined> {
  const stat = await host.stat(path);
  if (stat === undefined) return undefined;
  if (stat.kind !== "block") {
    throw wrongDevice(`cannot use "${path}" as a device: it is a ${stat.kind}`, path, stat.kind);
  }
  const directory = await host.realPath(`/sys/dev/block/${stat.rdev}`);
  if (directory === undefined) return undefined;
  const kernelName = directory.slice(directory.lastIndexOf("/") + 1);
  const mapping = await readMapping(host, directory);
  const backingFile = await readAttribute(host, `${directory}/loop/backing_file`);
  const identified = await readDeviceIdentity(host, stat.rdev);
  const bytes = identified?.bytes ?? 0;
  const size = String(bytes / SECTOR);
  const entries = (await host.readDirectory(directory)) ?? [];
  const identity =
    mapping?.uuid ||
    (backingFile === undefined ? await readIdentity(host, kernelName, directory, size) : `loop:${backingFile}`);
  return {
    path,
    kernelName,
    number: stat.rdev,
    bytes,
    readOnly: (await readAttribute(host, `${directory}/ro`)) === "1",
    holders: (await host.readDirectory(`${directory}/holders`)) ?? [],
    partitions: entries.filter((entry) => entry.startsWith(kernelName)),
    mapping,
    backingFile,
    identity,
    identified: identified ?? { number: stat.rdev, sequence: "", start: "", mappingUuid: "", bytes },
  };
}

/** The kernel's name of the block device at a path (links are followed); undefined when there is no block device. */
export async function readKernelName(host: Host, path: string): Promise<string | undefined> {
  const stat = await host.stat(path);
  if (stat?.kind !== "block") return undefined;
  return (await host.realPath(`/sys/dev/block/${stat.rdev}`))?.split("/").at(-1);
}

/** As `readBlockDevice`; throws HostError `device-missing` when there is no such device. */
export async function requireBlockDevice(host: Host, path: string): Promise<BlockDevice> {
  const device = await readBlockDevice(host, path);
  if (device === undefined) throw missingDevice(`cannot find device "${path}": there is nothing at this path`, path);
  return device;
}

/** Kernel names of all block devices, partitions among them. */
export async function listBlockDevices(host: Host): Promise<readonly string[]> {
  return (await host.readDirectory(SYS_BLOCK)) ?? [];
}

/** Size in bytes of a block device by its kernel name; 0 when it is gone. */
export async function readDeviceSize(host: Host, kernelName: string): Promise<number> {
  return Number((await readAttribute(host, `${SYS_BLOCK}/${kernelName}/size`)) ?? "0") * SECTOR;
}

/** Kernel names of the devices that a device-mapper device lies on. */
export async function readSlaves(host: Host, kernelName: string): Promise<readonly string[]> {
  return (await host.readDirectory(`${SYS_BLOCK}/${kernelName}/slaves`)) ?? [];
}

/** Kernel names of the devices that are stacked on one. */
export async function readHolders(host: Host, kernelName: string): Promise<readonly string[]> {
  return (await host.readDirectory(`${SYS_BLOCK}/${kernelName}/holders`)) ?? [];
}

/** Of devices that all show the same content, those that no other of them lies on: of a multipath device the map, not its paths. */
export function topmost<T extends Pick<BlockDevice, "holders" | "kernelName">>(devices: readonly T[]): readonly T[] {
  return devices.filter(({ holders }) => !devices.some(({ kernelName }) => holders.includes(kernelName)));
}

/** The device-mapper device of that name, by its kernel name; undefined when there is none. */
export async function findMapping(
  host: Host,
  name: string,
): Promise<(DeviceMapping & { readonly kernelName: string }) | undefined> {
  for (const kernelName of await listBlockDevices(host)) {
    if (!kernelName.startsWith("dm-")) continue;
    const mapping = await readMapping(host, `${SYS_BLOCK}/${kernelName}`);
    if (mapping?.name === name) return { ...mapping, kernelName };
  }
  return undefined;
}

/** What cryptsetup puts between a mapping and its device while it re-encrypts, and for integrity. */
export const OWN_PIECE = /^CRYPT-(?:SUBDEV|TEMP)-/u;
const MAX_PIECES = 4;

/** Whether a device-mapper device lies on this device, with nothing between but cryptsetup's own pieces. */
export async function isOnDevice(
  host: Host,
  kernelName: string,
  { holders }: Pick<BlockDevice, "holders">,
  depth = 0,
): Promise<boolean> {
  if (holders.includes(kernelName)) return true;
  if (depth >= MAX_PIECES) return false;
  for (const below of await readSlaves(host, kernelName)) {
    const mapping = await readMapping(host, `${SYS_BLOCK}/${below}`);
    const isPiece = mapping !== undefined && OWN_PIECE.test(mapping.uuid);
    if (isPiece && (await isOnDevice(host, below, { holders }, depth + 1))) return true;
  }
  return false;
}

/** A table that is being replaced suspends its device for a moment. */
const LOOKS = 5;
const LOOK_AGAIN_MS = 50;

/** Whether a device-mapper device is suspended, and stays so: whatever reads or writes it waits. */
export async function isSuspended(host: Host, kernelName: string): Promise<boolean> {
  for (let look = 1; ; look += 1) {
    if ((await readAttribute(host, `${SYS_BLOCK}/${kernelName}/dm/suspended`)) !== "1") return false;
    if (look === LOOKS) return true;
    await delay(LOOK_AGAIN_MS);
  }
}

/** Name of the device-mapper device with that kernel name, for messages; else the kernel name itself. */
export async function describeKernelName(host: Host, kernelName: string): Promise<string> {
  const mapping = await readMapping(host, `${SYS_BLOCK}/${kernelName}`);
  return mapping === undefined ? `/dev/${kernelName}` : `/dev/mapper/${mapping.name}`;
}
