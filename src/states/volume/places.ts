import type { Host } from "../../core/host.ts";
import { findLoop } from "../devices/loop-device.ts";
import type { VolumeSpec } from "./spec.ts";

/** Where the layers of a volume are, or will be; undefined for layers that it does not have, or that are not there yet. */
export interface VolumePlaces {
  /** The disks, or the loop device once it is attached. */
  readonly bases: readonly string[];
  /** `/dev/<vg>/<lv>` */
  readonly logical: string | undefined;
  /** The LUKS device. */
  readonly encrypted: string | undefined;
  /** `/dev/mapper/<name>` */
  readonly mapping: string | undefined;
  /** What the file system is on. */
  readonly content: string | undefined;
}

/** Where the layers of a volume are by their declared names. Reads /sys only for a loop device. */
export async function volumePlaces(host: Host, volume: VolumeSpec): Promise<VolumePlaces> {
  const { name, loop, lvm, luks, disks } = volume;
  const loopDevice = loop && (await findLoop(host, loop.file));
  const bases = loop === undefined ? disks : loopDevice === undefined ? [] : [loopDevice];
  const logical = lvm && `/dev/${lvm.vg}/${lvm.lv ?? name}`;
  const below = logical ?? bases[0];
  const mapping = luks && `/dev/mapper/${luks.name ?? name}`;
  return { bases, logical, encrypted: luks && below, mapping, content: mapping ?? below };
}
