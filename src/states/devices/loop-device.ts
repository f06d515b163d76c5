import type { Host } from "../../core/host.ts";
import { listBlockDevices } from "./block-device.ts";

/** The loop device that has the file behind it; undefined when none has. */
export async function findLoop(host: Host, path: string): Promise<string | undefined> {
  const real = (await host.realPath(path)) ?? path;
  for (const kernelName of await listBlockDevices(host)) {
    if (!kernelName.startsWith("loop")) continue;
    const backing = (await host.readFile(`/sys/class/block/${kernelName}/loop/backing_file`))?.toString("utf8");
    if (backing?.trimEnd() === real) return `/dev/${kernelName}`;
  }
  return undefined;
}
