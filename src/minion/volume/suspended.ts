import type { Host } from "../../core/host.ts";
import { findMapping, isSuspended } from "../../states/devices/block-device.ts";
import type { VolumeSpec } from "../../states/volume/spec.ts";

/** Name of a volume's mapping below /dev/mapper. */
export const mappingName = ({ name, luks }: VolumeSpec): string => luks?.name ?? name;

/** Whether a volume's mapping is suspended, its key out of the kernel's memory. */
export async function isVolumeLocked(host: Host, volume: VolumeSpec): Promise<boolean> {
  if (volume.luks === undefined) return false;
  const mapping = await findMapping(host, mappingName(volume));
  return mapping !== undefined && isSuspended(host, mapping.kernelName);
}
