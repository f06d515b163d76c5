import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { LayerStatus } from "../../core/volume-status.ts";
import type { VolumeProblem } from "../../core/volume-report.ts";
import { type BlockDevice, readBlockDevice } from "../../states/devices/block-device.ts";
import type { LayerKind } from "../../states/volume/layer.ts";
import type { VolumeSpec } from "../../states/volume/spec.ts";

/** What looking at a volume needs: it starts no process but one `systemctl show`, and changes nothing. */
export interface InspectContext {
  readonly host: Host;
  readonly volume: VolumeSpec;
}

/** What was found of some layers, and what is wrong with them. */
export interface Finding {
  readonly layers: readonly LayerStatus[];
  readonly problems: readonly VolumeProblem[];
}

/** A layer from what is known of it. */
export function layerStatus(
  layer: LayerKind,
  name: string,
  state: LayerStatus["state"],
  more: Partial<Omit<LayerStatus, "layer" | "name" | "state">> = {},
): LayerStatus {
  return { layer, name, state, device: "", bytes: 0, sub: [], base: [], exposed: [], details: {}, ...more };
}

/** A device by its path; undefined when there is none, or when what is there is no block device. */
export async function tryDevice(host: Host, path: string): Promise<BlockDevice | undefined> {
  try {
    return await readBlockDevice(host, path);
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

/** Bytes of a device's start; undefined when it cannot be read. */
export async function tryRange(host: Host, path: string, length: number): Promise<Buffer | undefined> {
  try {
    return await host.readRange(path, 0, length);
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

/** The devices at the very bottom of a stack of block devices, by kernel name; the device itself when nothing is below. */
export async function baseDevices(host: Host, kernelName: string, depth = 0): Promise<string[]> {
  const below = (await host.readDirectory(`/sys/class/block/${kernelName}/slaves`)) ?? [];
  if (below.length === 0 || depth > 16) return [`/dev/${kernelName.replaceAll("!", "/")}`];
  const found = await Promise.all(below.map((name) => baseDevices(host, name, depth + 1)));
  return [...new Set(found.flat())];
}

/** What tells a disk from others also when names change: serial, WWID, file or UUID; "" when the kernel knows nothing. */
export function serialOf({ identity, kernelName, bytes }: BlockDevice): string {
  const serial = identity.replace(new RegExp(`:${bytes / 512}$`, "u"), "");
  return serial === kernelName || serial.startsWith(`${kernelName}:`) ? "" : serial;
}
