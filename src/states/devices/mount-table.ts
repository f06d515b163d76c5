import type { Host } from "../../core/host.ts";
import { readKernelName } from "./block-device.ts";

/** One mount, from /proc/self/mountinfo (proc(5)). */
export interface Mount {
  /** Numbers of the mount and of the one that it lies on. */
  readonly id: string;
  readonly parent: string;
  /** `major:minor` of the file system's device. */
  readonly number: string;
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  /** Options of this mount and of the file system, such as `rw`, `noatime`. */
  readonly options: readonly string[];
}

const unescape = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/gu, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Parses mountinfo; lines that are not as documented are left out. */
export function parseMountInfo(text: string): readonly Mount[] {
  return text.split("\n").flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ", 2);
    const [id, parent, number, , mountPoint, options] = before.split(" ");
    const [fsType, source, superOptions = ""] = after.split(" ");
    if (
      id === undefined ||
      parent === undefined ||
      number === undefined ||
      mountPoint === undefined ||
      options === undefined
    )
      return [];
    if (fsType === undefined || source === undefined) return [];
    return [
      {
        id,
        parent,
        number,
        mountPoint: unescape(mountPoint),
        fsType,
        source: unescape(source),
        options: [...new Set([...options.split(","), ...superOptions.split(",")])],
      },
    ];
  });
}

/** Everything mounted, in the kernel's order: of several mounts on one point the last one is seen. */
export async function readMounts(host: Host): Promise<readonly Mount[]> {
  return parseMountInfo((await host.readFile("/proc/self/mountinfo"))?.toString("utf8") ?? "");
}

/**
 * The mount that a path without links leads into, as the kernel walks it: from the root down, at each directory into what
 * is mounted there on the mount before. A mount that is covered by a later one on a directory above it is never reached.
 */
export function mountAt(mounts: readonly Mount[], path: string): Mount | undefined {
  const ids = new Set(mounts.map(({ id }) => id));
  const names = path.split("/").filter((name) => name !== "");
  let at: Mount | undefined;
  for (let depth = 0; depth <= names.length; depth += 1) {
    const directory = `/${names.slice(0, depth).join("/")}`;
    const here = mounts.filter(({ mountPoint }) => mountPoint === directory);
    // several on one point lie on each other
    for (let step = 0; step <= here.length; step += 1) {
      const below = at;
      const next = here.findLast((mount) =>
        below === undefined ? !ids.has(mount.parent) || mount.parent === mount.id : mount.parent === below.id,
      );
      if (next === undefined || next === at) break;
      at = next;
    }
  }
  return at;
}

/** A mount that is there, and what covers it: then no path leads to it. */
export interface MountOn {
  readonly mount: Mount;
  readonly coveredBy: Mount | undefined;
}

/** What is mounted on a directory: what is seen there, else one that is covered. Undefined when nothing is. */
export function findMountOn(mounts: readonly Mount[], directory: string): MountOn | undefined {
  const seen = mountAt(mounts, directory);
  if (seen?.mountPoint === directory) return { mount: seen, coveredBy: undefined };
  const mount = mounts.findLast(({ mountPoint }) => mountPoint === directory);
  return mount && { mount, coveredBy: seen };
}

/** The mounts below a directory that a path leads to. */
export function mountsBelow(mounts: readonly Mount[], directory: string): readonly Mount[] {
  const prefix = directory === "/" ? "/" : `${directory}/`;
  return mounts.filter(
    (mount) =>
      mount.mountPoint !== "/" && mount.mountPoint.startsWith(prefix) && mountAt(mounts, mount.mountPoint) === mount,
  );
}

/** Paths of the devices and files that the kernel swaps to. */
export async function readSwaps(host: Host): Promise<readonly string[]> {
  const text = (await host.readFile("/proc/swaps"))?.toString("utf8") ?? "";
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [path] = line.split(/\s+/u);
      return path ? [unescape(path)] : [];
    });
}

/** What tells a device in the mount table. */
export interface MountableDevice {
  /** `major:minor` */
  readonly number: string;
  readonly kernelName: string;
}

/** Kernel names of all devices of the mounted btrfs that this one is of, itself among them; `[]` when it is of none. */
export async function btrfsMembers(host: Host, kernelName: string): Promise<readonly string[]> {
  const all = "/sys/fs/btrfs";
  for (const uuid of (await host.readDirectory(all)) ?? []) {
    const members = (await host.readDirectory(`${all}/${uuid}/devices`)) ?? [];
    if (members.includes(kernelName)) return members;
  }
  return [];
}

/**
 * Whether a mount is of that device. btrfs mounts have a number of their own, so there the source's device counts, and
 * for file systems on several devices what /sys says.
 */
export async function isMountOf(host: Host, mount: Mount, device: MountableDevice): Promise<boolean> {
  if (mount.number === device.number) return true;
  if (mount.fsType !== "btrfs") return false;
  const source = await host.stat(mount.source);
  if (source?.kind !== "block") return false;
  if (source.rdev === device.number) return true;
  const members = await btrfsMembers(host, device.kernelName);
  if (members.length === 0) return false;
  const name = await readKernelName(host, mount.source);
  return name !== undefined && members.includes(name);
}

/** The first mount of a device, undefined when it is not mounted. */
export async function findMountOf(host: Host, device: MountableDevice): Promise<Mount | undefined> {
  for (const mount of await readMounts(host)) if (await isMountOf(host, mount, device)) return mount;
  return undefined;
}
