import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { busyDevice, readBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { lookAt } from "../devices/held.ts";
import { findMountOn, isMountOf, mountsBelow, readMounts } from "../devices/mount-table.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { type Change, type CheckContext, defineState } from "../state.ts";
import { mountCovered } from "./covered.ts";
import { runUmount } from "./mount-held.ts";
import { findFstabLine, readFstab, removeFstabLine, writeFstab } from "./fstab.ts";

const params = z.strictObject({
  name: absolutePath.describe("The mount point"),
  device: absolutePath.optional().describe("What is mounted there; anything else on the mount point is refused"),
  persist: z.boolean().default(false).describe("Also remove the mount point's line from /etc/fstab"),
});
type Params = z.infer<typeof params>;

async function checkMount({ name, device }: Params, { host }: CheckContext): Promise<readonly Change[]> {
  // without a link that another user can have planted: what is mounted elsewhere stays
  const real = (await lookAt(host, name, { allowUnsafePath: true }))?.path ?? name;
  const mounts = await readMounts(host);
  const found = findMountOn(mounts, real);
  if (found === undefined) return [];
  const { mount, coveredBy } = found;
  const block = device === undefined ? undefined : await readBlockDevice(host, device);
  // by number, since one device has many names; by name for one that has gone
  const isSame =
    block === undefined ? device === undefined || mount.source === device : await isMountOf(host, mount, block);
  if (!isSame) {
    const what = `${mount.source} (${mount.fsType}) is mounted there`;
    throw wrongDevice(`cannot unmount "${device}" from "${name}": ${what}`, device ?? "", what);
  }
  if (coveredBy !== undefined) throw mountCovered(name, mount, coveredBy);
  const [below] = mountsBelow(mounts, real);
  if (below !== undefined) throw busyDevice(name, "unmount", `has ${below.source} mounted on "${below.mountPoint}"`);
  return [{ field: "mounted", from: mount.source, to: null }];
}

async function checkFstab({ name, persist }: Params, { host }: CheckContext): Promise<readonly Change[]> {
  const line = persist ? findFstabLine(await readFstab(host), name) : undefined;
  return line === undefined ? [] : [{ field: "fstab", from: line, to: null }];
}

/** `mount.unmounted`: never by force and never lazily; a mount that is in use stays, and the error says so. */
export const mountUnmounted = defineState({
  kind: "resource",
  name: "mount.unmounted",
  summary: "Unmounts a file system; one that is in use stays mounted and is an error.",
  params,
  check: async (wanted, context) => [...(await checkMount(wanted, context)), ...(await checkFstab(wanted, context))],
  apply: async ({ name }, context, changes) => {
    const { host } = context;
    const fields = new Set(changes.map(({ field }) => field));
    if (fields.has("mounted")) {
      const { exitCode, stderr } = await runUmount(context, name);
      if (exitCode !== 0 && /busy/u.test(stderr)) throw busyDevice(name, "unmount", "is in use by a process");
      if (exitCode !== 0) throw new HostError("unmount-failed", `cannot unmount "${name}": ${stderr.trim()}`);
    }
    if (fields.has("fstab")) await writeFstab(host, removeFstabLine(await readFstab(host), name));
  },
  settled: ({ name }) => `nothing is mounted on ${name}`,
});
