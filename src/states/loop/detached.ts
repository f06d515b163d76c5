import type { Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { findUse } from "../devices/blank.ts";
import { busyDevice, readBlockDevice } from "../devices/block-device.ts";
import { findLoop } from "../devices/loop-device.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { waitFor } from "../devices/wait-for.ts";
import { defineState } from "../state.ts";

const GONE_TIMEOUT_MS = 30_000;

const params = z.strictObject({
  name: absolutePath.describe("The file behind the loop device; it stays"),
});

/** The loop device of the file. Throws HostError `device-busy`: the kernel would detach it later, when nobody looks. */
async function findFree(host: Host, file: string): Promise<string | undefined> {
  const path = await findLoop(host, file);
  const device = path === undefined ? undefined : await readBlockDevice(host, path);
  if (path === undefined || device === undefined) return undefined;
  const use = await findUse(host, device);
  if (use !== undefined) throw busyDevice(path, "detach", use);
  return path;
}

/** `loop.detached` */
export const loopDetached = defineState({
  kind: "resource",
  name: "loop.detached",
  summary: "Detaches the loop device of a file; the file stays.",
  params,
  check: async ({ name }, { host }) => {
    const device = await findFree(host, name);
    return device === undefined ? [] : [{ field: "device", from: device, to: null }];
  },
  apply: async ({ name }, { host, signal }) => {
    const device = await findFree(host, name);
    if (device === undefined) return;
    await host.run(["losetup", "--detach", device], { signal });
    // somebody who only reads it (a scan for devices) keeps it for a moment
    const isGone = async () => (await findLoop(host, name)) === undefined;
    await waitFor(`the end of "${device}"`, isGone, { timeoutMs: GONE_TIMEOUT_MS, signal });
  },
  settled: ({ name }) => `${name} is not attached`,
});
