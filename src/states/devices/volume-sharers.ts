import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { BlockDevice } from "./block-device.ts";
import { logicalVolumePath, lvmUuidsOf } from "./logical-volume.ts";
import { sharersOf } from "./lvm-metadata.ts";
import { findVolumeGroup, scanVolumeGroups } from "./lvm-scan.ts";

function refusal(path: string, act: string, sharers: readonly string[]): HostError {
  const names = sharers.join(", ");
  const what = `other logical volumes depend on it (snapshots or volumes of a pool): ${names}`;
  return new HostError("volume-shared", `cannot ${act} "${path}": ${what}; nothing was changed`, {
    hint: "they go with it, or keep what is in it, old keyslots too: remove them first (lvremove), where nobody needs them",
    facts: { path, volumes: names },
  });
}

/** Names of the logical volumes that share a device's content, when it is one itself; `[]` for any other. No process is started. */
export async function findSharers(host: Host, { mapping }: Pick<BlockDevice, "mapping">): Promise<readonly string[]> {
  const uuids = lvmUuidsOf(mapping?.uuid ?? "");
  if (uuids.volume === "") return [];
  const group = (await scanVolumeGroups(host)).find(({ uuid }) => uuid === uuids.group);
  const volume = group?.volumes.find(({ uuid }) => uuid === uuids.volume);
  return group === undefined || volume === undefined ? [] : sharersOf(group, volume.name);
}

/** Throws HostError `volume-shared` naming the volumes that depend on this device's content. `act`: "erase". */
export async function assertUnsharedDevice(host: Host, device: BlockDevice, act: string): Promise<void> {
  const sharers = await findSharers(host, device);
  if (sharers.length > 0) throw refusal(device.path, act, sharers);
}

/** As `assertUnsharedDevice`, for a logical volume by its names, active or not. */
export async function assertUnshared(host: Host, group: string, name: string, act: string): Promise<void> {
  const found = await findVolumeGroup(host, group);
  const sharers = found === undefined ? [] : sharersOf(found, name);
  if (sharers.length > 0) throw refusal(logicalVolumePath(group, name), act, sharers);
}
