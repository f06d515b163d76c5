import type { Host } from "../../core/host.ts";
import { readKernelName, readSlaves } from "./block-device.ts";
import { btrfsMembers } from "./mount-table.ts";

/** The disk that a partition is of: in /sys a directory above it. */
async function diskOf(host: Host, kernelName: string): Promise<readonly string[]> {
  const directory = await host.realPath(`/sys/class/block/${kernelName}`);
  if (directory === undefined || (await host.readFile(`${directory}/partition`)) === undefined) return [];
  return directory.split("/").slice(-2, -1);
}

/**
 * Kernel names of all devices below the file system that is mounted from the device at `path`: whatever that device, and of
 * a btrfs each other member, lies on, through mappings, arrays and partitions. The file system's own devices are not among
 * them. Empty when there is no block device at the path.
 */
export async function devicesBelow(host: Host, path: string): Promise<ReadonlySet<string>> {
  const top = await readKernelName(host, path);
  const below = new Set<string>();
  const waiting = top === undefined ? [] : [top, ...(await btrfsMembers(host, top))];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    for (const lower of [...(await readSlaves(host, name)), ...(await diskOf(host, name))]) {
      if (below.has(lower)) continue;
      below.add(lower);
      waiting.push(lower);
    }
  }
  return below;
}
