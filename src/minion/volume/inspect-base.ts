import { HostError, ProtocolError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { LayerStatus } from "../../core/volume-status.ts";
import type { VolumeProblem } from "../../core/volume-report.ts";
import type { BlockDevice } from "../../states/devices/block-device.ts";
import { findMembership, type Membership } from "../../states/devices/membership.ts";
import { readLvmLabel } from "../../states/devices/lvm-label.ts";
import { readVolumeGroup, type VolumeGroup } from "../../states/devices/lvm-metadata.ts";
import { findVolumeGroup, type FoundGroup } from "../../states/devices/lvm-scan.ts";
import type { VolumePlaces } from "../../states/volume/places.ts";
import { baseDevices, type Finding, type InspectContext, layerStatus, serialOf, tryDevice } from "./layer-status.ts";

/** The bottom of a volume: loop or disks, and what tells them from others. */
export interface BaseFinding extends Finding {
  readonly devices: readonly BlockDevice[];
  readonly serial: string;
  readonly bytes: number;
}

async function inspectLoop({ host, volume }: InspectContext, bases: readonly string[]): Promise<LayerStatus> {
  const file = volume.loop?.file ?? "";
  const [device = ""] = bases;
  const stat = await host.stat(file);
  const state = device !== "" ? "up" : stat === undefined ? "not-provisioned" : "down";
  const exposed = device === "" ? [] : [device];
  return layerStatus("loop", file, state, { device, bytes: stat?.size ?? 0, exposed, base: exposed });
}

/** Loop file or disks. */
export async function inspectBase(context: InspectContext, { bases }: VolumePlaces): Promise<BaseFinding> {
  const { host, volume } = context;
  const layers: LayerStatus[] = [];
  const problems: VolumeProblem[] = [];
  const devices: BlockDevice[] = [];
  if (volume.loop !== undefined) {
    layers.push(await inspectLoop(context, bases));
    if (layers[0]?.state === "not-provisioned" && volume.loop.size === undefined) {
      problems.push({ code: "disk-missing", text: `there is no file "${volume.loop.file}"`, fatal: true });
    }
  }
  for (const path of bases) {
    const device = await tryDevice(host, path);
    if (device !== undefined) devices.push(device);
    if (volume.loop !== undefined) continue;
    if (device === undefined) {
      layers.push(layerStatus("disk", path, "warn", { device: path, details: { found: "nothing" } }));
      problems.push({ code: "disk-missing", text: `there is no device "${path}"`, fatal: true });
      continue;
    }
    const part = await tryMembership(host, device);
    if (part !== undefined) {
      const text = `"${path}" ${part.finding}: ${part.hint}`;
      problems.push({ code: "wrong-device", text, fatal: true });
    }
    const base = await baseDevices(host, device.kernelName);
    const details = { serial: serialOf(device), kernelName: device.kernelName, readOnly: device.readOnly };
    const state = part === undefined ? "up" : "warn";
    layers.push(
      layerStatus("disk", path, state, { device: path, bytes: device.bytes, base, exposed: [path], details }),
    );
  }
  const serials = devices.map((device) => serialOf(device)).filter((serial) => serial !== "");
  return {
    layers,
    problems,
    devices,
    serial: serials.join(",").slice(0, 300),
    bytes: devices.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

async function tryMembership(host: Host, device: BlockDevice): Promise<Membership | undefined> {
  try {
    return await findMembership(host, device);
  } catch (error) {
    // a disk that does not read shows by itself
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

interface PhysicalVolume {
  readonly path: string;
  readonly uuid: string;
  readonly group: VolumeGroup | undefined;
  readonly damaged: boolean;
}

async function readPv({ host }: InspectContext, path: string): Promise<PhysicalVolume | undefined> {
  try {
    const finding = await readLvmLabel(host, path);
    if (finding.kind === "none") return undefined;
    if (finding.kind === "damaged") return { path, uuid: "", group: undefined, damaged: true };
    const group = await readVolumeGroup(host, path, finding.label);
    return { path, uuid: finding.label.pvUuid, group, damaged: false };
  } catch (error) {
    if (error instanceof HostError || error instanceof ProtocolError) {
      return { path, uuid: "", group: undefined, damaged: true };
    }
    throw error;
  }
}

/** The group, wherever its physical volumes are by now; undefined for none or when two have the name. */
async function findGroup({ host }: InspectContext, name: string): Promise<FoundGroup | "ambiguous" | undefined> {
  try {
    return await findVolumeGroup(host, name);
  } catch (error) {
    if (error instanceof HostError) return "ambiguous";
    throw error;
  }
}

/** PV, VG and LV; nothing for a volume without LVM. Also the UUIDs of the physical volumes that the group has. */
export async function inspectLvm(
  context: InspectContext,
  places: VolumePlaces,
  devices: readonly BlockDevice[],
): Promise<Finding & { readonly pvUuids: readonly string[] }> {
  const { host, volume } = context;
  const { lvm } = volume;
  if (lvm === undefined) return { layers: [], problems: [], pvUuids: [] };
  const problems: VolumeProblem[] = [];
  const layers: LayerStatus[] = [];
  for (const device of devices) {
    const pv = await readPv(context, device.path);
    const base = await baseDevices(host, device.kernelName);
    const about = { device: device.path, bytes: device.bytes, sub: [device.path], base, exposed: [device.path] };
    const group = pv?.group?.name ?? "";
    const isOther = group !== "" && group !== lvm.vg;
    const state = pv === undefined ? "not-provisioned" : pv.damaged || isOther ? "warn" : "up";
    layers.push(layerStatus("pv", device.path, state, { ...about, details: { uuid: pv?.uuid ?? "", group } }));
    if (pv?.damaged === true) {
      problems.push({ code: "pv-damaged", text: `the LVM label of "${device.path}" does not read`, fatal: false });
    } else if (isOther) {
      const text = `"${device.path}" belongs to volume group "${group}", not "${lvm.vg}"`;
      problems.push({ code: "wrong-disk", text, fatal: false });
    }
  }
  const group = await findGroup(context, lvm.vg);
  if (group === "ambiguous") {
    problems.push({ code: "wrong-disk", text: `two volume groups are called "${lvm.vg}"`, fatal: true });
  }
  const found = group === "ambiguous" ? undefined : group;
  const missing = found === undefined ? 0 : found.pvUuids.filter((uuid) => !found.seenUuids.includes(uuid)).length;
  if (missing > 0) {
    const text = `volume group "${lvm.vg}" misses ${missing} of its ${found?.pvUuids.length ?? 0} physical volumes`;
    problems.push({ code: "disk-missing", text, fatal: true });
  }
  const vgState = group === "ambiguous" || missing > 0 ? "warn" : found === undefined ? "not-provisioned" : "up";
  const sub = found?.devices ?? [];
  const details = found === undefined ? {} : { uuid: found.uuid, pvs: found.pvUuids.length };
  const base = [...new Set(layers.flatMap((layer) => layer.base))];
  layers.push(layerStatus("vg", lvm.vg, vgState, { sub: [...sub], exposed: [...sub], base, details }));
  layers.push(await inspectLv(context, places.logical ?? "", found, base));
  return { layers, problems, pvUuids: found?.pvUuids ?? [] };
}

async function inspectLv(
  { host, volume }: InspectContext,
  path: string,
  group: FoundGroup | undefined,
  base: string[],
): Promise<LayerStatus> {
  const name = volume.lvm?.lv ?? volume.name;
  const known = group?.volumes.find((candidate) => candidate.name === name);
  const device = await tryDevice(host, path);
  const state = device !== undefined ? "up" : known === undefined ? "not-provisioned" : "down";
  return layerStatus("lv", `${volume.lvm?.vg ?? ""}/${name}`, state, {
    device: path,
    bytes: device?.bytes ?? (known === undefined ? 0 : known.extents * (group?.extentBytes ?? 0)),
    sub: [...(group?.devices ?? [])],
    base,
    exposed: device === undefined ? [] : [path],
    details: known === undefined ? {} : { uuid: known.uuid },
  });
}
