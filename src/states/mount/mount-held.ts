import { HostError } from "../../core/errors.ts";
import type { HeldPath, Host, RunResult } from "../../core/host.ts";
import { lookAt } from "../devices/held.ts";
import { findMountOn, isMountOf, type Mount, type MountableDevice, readMounts } from "../devices/mount-table.ts";
import type { CheckContext } from "../state.ts";

/** A journal that is replayed on a slow disk takes its time, and must not be cut short. */
const MOUNT_TIMEOUT_MS = 3_600_000;
/** What was written and is not on the disk yet goes there first. */
const UNMOUNT_TIMEOUT_MS = 3_600_000;
/** umount(8): the mount failed, which a busy one does. */
const UMOUNT_FAILED = 32;

/**
 * Runs mount(8) on the directory that is held, `words` without the mount point. Where others can change what its path leads to
 * the tool gets the directory itself and is told not to look for its path, which the kernel would walk anew.
 */
export async function runMount(
  { host, signal }: CheckContext,
  held: HeldPath,
  words: readonly string[],
): Promise<RunResult> {
  const limits = { timeoutMs: MOUNT_TIMEOUT_MS, signal };
  if (held.unsafe === "") return host.run(["mount", ...words, held.path], limits);
  const descriptors = held.foundDescriptor === undefined ? [] : [held.foundDescriptor];
  // the dot: move_mount(2) does not follow a link that is the last part
  return host.run(["mount", "--no-canonicalize", ...words, "/proc/self/fd/3/."], { ...limits, descriptors });
}

/**
 * Runs umount(8) on a mount point, exit code 32 as a value. Where others can change names its directory is held: the mount
 * itself is not, since that would keep it busy. Throws HostError `unsafe-link` when a link has its name, `unmount-moved` when
 * that what was mounted there still is, although umount(8) says that it unmounted.
 */
export async function runUmount({ host, signal }: CheckContext, path: string): Promise<RunResult> {
  const options = { okCodes: [0, UMOUNT_FAILED], timeoutMs: UNMOUNT_TIMEOUT_MS, signal };
  const seen = await lookAt(host, path, { allowUnsafePath: true });
  const place = seen?.path ?? path;
  if (seen === undefined || seen.unsafe === "") return host.run(["umount", "--", place], options);
  const slash = place.lastIndexOf("/");
  using directory = await host.holdPath(place.slice(0, slash) || "/", { allowUnsafePath: true });
  const descriptors = directory?.foundDescriptor === undefined ? [] : [directory.foundDescriptor];
  const target = `/proc/self/fd/3/${place.slice(slash + 1)}`;
  const before = await readMounts(host);
  const result = await host.run(["umount", "--no-canonicalize", "--", target], { ...options, descriptors });
  if (result.exitCode === 0) await assertUnmounted(host, place, before);
  return result;
}

/** umount(8) follows a link that took the mount point's name, which another mount namespace allows: then another mount is gone. */
async function assertUnmounted(host: Host, path: string, before: readonly Mount[]): Promise<void> {
  const wanted = findMountOn(before, path)?.mount;
  const after = new Map((await readMounts(host)).map((mount) => [mount.id, mount]));
  const still = wanted && after.get(wanted.id);
  if (still === undefined) return;
  const gone = before
    .filter(({ id }) => !after.has(id))
    .map(({ source, mountPoint }) => `${source} on "${mountPoint}"`);
  const finding = gone.length === 0 ? "nothing" : gone.join(", ");
  throw new HostError(
    "unmount-moved",
    `cannot unmount "${path}": it is on "${still.mountPoint}", and ${finding} went`,
    {
      hint: "another user put a link in place of the mount point: mount again what went, and keep them from that directory",
      facts: { path, finding, mountPoint: still.mountPoint },
    },
  );
}

/** What is looked at before mount(8) runs, to tell afterwards what it did. */
export interface BeforeMount {
  /** Where the mount point is. */
  readonly path: string;
  readonly mounts: readonly Mount[];
  /** The device by number and kernel name: its path may lead to another meanwhile. */
  readonly device: MountableDevice;
}

/**
 * Proves that what has been mounted since then is the device, and on that path: a directory can be moved, and a device's name be
 * given to another. Anything else is unmounted again: HostError `mount-moved`.
 */
export async function assertMountedThere(
  context: CheckContext,
  wanted: { readonly name: string; readonly device: string },
  { path, mounts, device }: BeforeMount,
): Promise<void> {
  const { host } = context;
  const old = new Set(mounts.map(({ id }) => id));
  const wrong: Mount[] = [];
  for (const mount of (await readMounts(host)).filter(({ id }) => !old.has(id))) {
    const isOurs = await isMountOf(host, mount, device);
    const isThere = mount.mountPoint === path;
    if (isOurs && isThere) return;
    if (isOurs || isThere) wrong.push(mount);
  }
  if (wrong.length === 0) return;
  for (const { mountPoint } of wrong) await runUmount(context, mountPoint);
  const finding = wrong.map(({ source, mountPoint }) => `${source} on "${mountPoint}"`).join(", ");
  throw new HostError("mount-moved", `cannot mount "${wanted.device}" on "${wanted.name}": it became ${finding}`, {
    hint: "it was unmounted again: another user moves directories there, or the device's name was given to another",
    facts: { path, finding },
  });
}
