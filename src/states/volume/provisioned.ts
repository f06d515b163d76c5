import { readBlockDevice } from "../devices/block-device.ts";
import { findVolumeGroup } from "../devices/lvm-scan.ts";
import { readLuksHeader } from "../devices/luks-header.ts";
import { readSuperblock } from "../devices/superblock.ts";
import type { CheckContext } from "../state.ts";
import { volumePlaces } from "./places.ts";
import type { VolumeSpec } from "./spec.ts";

/**
 * Whether anything of the volume is there: its loop file, its logical volume, or on a plain disk its LUKS header or file
 * system. No process is started.
 */
export async function isProvisioned({
  host,
  volume,
}: CheckContext & { readonly volume: VolumeSpec }): Promise<boolean> {
  const { loop, lvm, luks, name } = volume;
  if (loop !== undefined) return (await host.stat(loop.file)) !== undefined;
  if (lvm !== undefined) {
    const group = await findVolumeGroup(host, lvm.vg);
    return group?.volumes.some((other) => other.name === (lvm.lv ?? name)) === true;
  }
  const { bases } = await volumePlaces(host, volume);
  const [disk] = bases;
  const device = disk === undefined ? undefined : await readBlockDevice(host, disk);
  if (device === undefined) return false;
  if (luks !== undefined) return (await readLuksHeader(host, device.path)).kind === "valid";
  return (await readSuperblock(host, device.path)) !== undefined;
}
