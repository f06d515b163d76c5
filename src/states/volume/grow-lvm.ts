import { parseSize } from "../../core/units.ts";
import { readDeviceSize, readBlockDevice } from "../devices/block-device.ts";
import { holding } from "../devices/held-device.ts";
import { activeUuid, assertSameVolume, findLogicalVolume, logicalVolumePath } from "../devices/logical-volume.ts";
import { readLvmLabel } from "../devices/lvm-label.ts";
import { type LogicalVolume, sharersOf, type VolumeGroup } from "../devices/lvm-metadata.ts";
import { findVolumeGroup } from "../devices/lvm-scan.ts";
import {
  type Growth,
  type GrowthContext,
  type GrowthLayer,
  type GrowthView,
  cannotShrink,
  tooSmall,
} from "./grow-context.ts";
import { volumePlaces } from "./places.ts";

async function groupOf({ host, volume }: GrowthView): Promise<VolumeGroup | undefined> {
  return volume.lvm && findVolumeGroup(host, volume.lvm.vg);
}

/** Physical volumes on devices that became larger. */
export const PHYSICAL_VOLUMES: GrowthLayer = {
  layer: "pv",
  step: "grow:pv",
  find: async (view) => {
    const group = await groupOf(view);
    if (group === undefined) return [];
    const growths: Growth[] = [];
    for (const path of (await volumePlaces(view.host, view.volume)).bases) {
      const device = await readBlockDevice(view.host, path);
      const label = device && (await readLvmLabel(view.host, path));
      if (device === undefined || label?.kind !== "valid") continue;
      const { pvUuid, metadataAreas } = label.label;
      const pv = group.physical.find(({ uuid }) => uuid === pvUuid);
      if (pv === undefined) continue;
      // a second metadata area lies at the device's end
      const behind = metadataAreas.filter(({ offset }) => offset >= pv.startBytes);
      const room = device.bytes - pv.startBytes - behind.reduce((sum, { size }) => sum + size, 0);
      const possible = Math.floor(room / group.extentBytes);
      const what = `physical volume ${path}`;
      const needs = pv.startBytes + pv.extents * group.extentBytes;
      if (device.bytes < needs) throw tooSmall(what, needs, device.bytes);
      if (possible <= pv.extents) continue;
      growths.push({
        what,
        from: pv.extents * group.extentBytes,
        to: possible * group.extentBytes,
        grow: async (context) => {
          const resize = ({ host, signal }: GrowthContext) => host.run(["pvresize", "--quiet", "--", path], { signal });
          await holding(context, path, resize, device.identified);
        },
      });
    }
    return growths;
  },
};

/**
 * Extents that a logical volume should have by the pillar: a size rounded up, or a share of its group; a share of what is
 * free counts what the volume has already as free. Throws ConfigError `bad-size`.
 */
export function wantedExtents(size: string | number, own: number, group: VolumeGroup): number {
  const total = group.physical.reduce((sum, { extents }) => sum + extents, 0);
  const used = group.volumes.reduce((sum, { allocated }) => sum + allocated, 0);
  const share = /^(\d{1,3})%(FREE|VG|PVS)$/u.exec(String(size));
  if (share === null) return Math.ceil(parseSize(size) / group.extentBytes);
  const whole = share[2] === "FREE" ? total - used + own : total;
  return Math.max(own, Math.min(total - used + own, Math.floor((Number(share[1]) * whole) / 100)));
}

/**
 * Whether what a volume gets larger by is what its group has less: of linear and striped volumes only. Thin ones take nothing, mirrors twice as
 * much, and one with snapshots does not grow while it is active (lvextend(8)).
 */
function takesItsShare({ name, extents, allocated }: LogicalVolume, group: VolumeGroup): boolean {
  return allocated === extents && sharersOf(group, name).length === 0;
}

/** The logical volume; one whose metadata grew but whose mapping did not (a crash in between) is told to take it over. */
export const LOGICAL_VOLUME: GrowthLayer = {
  layer: "lv",
  step: "grow:lv",
  find: async (view) => {
    const group = await groupOf(view);
    const { lvm, name } = view.volume;
    const lv = lvm?.lv ?? name;
    const volume = group?.volumes.find((other) => other.name === lv);
    if (group === undefined || volume === undefined) return [];
    const path = logicalVolumePath(group.name, lv);
    const what = `logical volume ${path}`;
    const size = lvm?.size ?? "100%FREE";
    const isCounted = !String(size).includes("%") || takesItsShare(volume, group);
    const wanted = isCounted ? wantedExtents(size, volume.extents, group) : volume.extents;
    const bytes = volume.extents * group.extentBytes;
    if (wanted < volume.extents) throw cannotShrink(what, bytes, wanted * group.extentBytes);
    const full = `${group.name}/${lv}`;
    if (wanted > volume.extents) {
      const named = { group: group.name, name: lv, uuid: volume.uuid };
      const extend = async ({ host, signal }: GrowthContext): Promise<void> => {
        assertSameVolume(named, await activeUuid(host, group.name, lv), "it is as large as before");
        await host.run(["lvextend", "--quiet", `--extents=${wanted}`, "--", full], { signal });
        const now = (await findVolumeGroup(host, group.name))?.volumes.find((other) => other.name === lv);
        assertSameVolume(named, now?.uuid, "that one may be larger now, no data is lost");
      };
      // one that is held can be neither removed nor made anew; LVM selects no volume by its UUID here
      const grow: Growth["grow"] = async (context) =>
        (await context.host.stat(path)) === undefined ? extend(context) : holding(context, path, extend);
      return [{ what, from: bytes, to: wanted * group.extentBytes, grow }];
    }
    const active = await findLogicalVolume(view.host, group.name, lv);
    if (active?.kernelName === undefined) return [];
    const mapped = await readDeviceSize(view.host, active.kernelName);
    if (mapped >= bytes) return [];
    const refresh: Growth["grow"] = async ({ host, signal }) => {
      await host.run(["lvchange", "--refresh", "--select", `lv_uuid=${volume.uuid}`, "--", full], { signal });
    };
    return [{ what, from: mapped, to: bytes, grow: refresh }];
  },
};
