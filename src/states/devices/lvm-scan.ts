import { HostError, ProtocolError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { listBlockDevices, readDeviceSize, readHolders, topmost } from "./block-device.ts";
import { type LabelFinding, readLvmLabel } from "./lvm-label.ts";
import { readVolumeGroup, type VolumeGroup } from "./lvm-metadata.ts";

/** Memory, floppies and optical drives: nothing that holds volume groups, and slow to ask. */
export const SKIPPED_DEVICES = /^(?:ram|zram|fd|sr|mtdblock)\d/u;

/** A volume group found on this machine. */
export interface FoundGroup extends VolumeGroup {
  /** Paths of the physical volumes that were seen; of a multipath device the map alone. */
  readonly devices: readonly string[];
  /** UUIDs of the physical volumes that were seen. */
  readonly seenUuids: readonly string[];
}

/** Where the label of a group's physical volume was read. */
interface Sighting {
  readonly kernelName: string;
  readonly path: string;
  readonly pvUuid: string;
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

async function tryReadGroup(
  host: Host,
  path: string,
): Promise<{ readonly group: VolumeGroup; readonly pvUuid: string } | undefined> {
  const finding = await tryReadLabel(host, path);
  if (finding.kind !== "valid") return undefined;
  try {
    const group = await readVolumeGroup(host, path, finding.label);
    return group && { group, pvUuid: finding.label.pvUuid };
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
  const found = new Map<string, { readonly group: VolumeGroup; readonly sightings: Sighting[] }>();
  for (const kernelName of await listBlockDevices(host)) {
    if (SKIPPED_DEVICES.test(kernelName) || (await readDeviceSize(host, kernelName)) === 0) continue;
    const path = `/dev/${kernelName.replaceAll("!", "/")}`;
    const read = await tryReadGroup(host, path);
    if (read === undefined) continue;
    const { group, pvUuid } = read;
    const before = found.get(group.uuid);
    const latest = before && before.group.sequence > group.sequence ? before.group : group;
    const sightings = [...(before?.sightings ?? []), { kernelName, path, pvUuid }];
    found.set(group.uuid, { group: latest, sightings });
  }
  return Promise.all(
    [...found.values()].map(async ({ group, sightings }) => ({
      ...group,
      devices: (await withoutPaths(host, sightings)).map(({ path }) => path),
      seenUuids: [...new Set(sightings.map(({ pvUuid }) => pvUuid))],
    })),
  );
}

/** A physical volume on a multipath device shows on each of its paths too: only the map counts. */
async function withoutPaths(host: Host, sightings: readonly Sighting[]): Promise<readonly Sighting[]> {
  const kept: Sighting[] = [];
  for (const pvUuid of new Set(sightings.map((one) => one.pvUuid))) {
    const same = sightings.filter((one) => one.pvUuid === pvUuid);
    if (same.length === 1) kept.push(...same);
    else {
      const held = same.map(async (one) => ({ ...one, holders: await readHolders(host, one.kernelName) }));
      kept.push(...topmost(await Promise.all(held)));
    }
  }
  return kept;
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
