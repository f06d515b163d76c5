import { HostError } from "../../core/errors.ts";
import type { HeldPath, Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { findContents, findUse } from "../devices/blank.ts";
import {
  type BlockDevice,
  missingDevice,
  readKernelName,
  requireBlockDevice,
  wrongDevice,
} from "../devices/block-device.ts";
import {
  findMountOn,
  isMountOf,
  type Mount,
  type MountableDevice,
  mountsBelow,
  readMounts,
} from "../devices/mount-table.ts";
import { lookAt, unsafePathParam } from "../devices/held.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { readSuperblock } from "../devices/superblock.ts";
import { type ApplyContext, type Change, type CheckContext, defineState } from "../state.ts";
import { mountCovered } from "./covered.ts";
import { assertMountedThere, runMount } from "./mount-held.ts";
import { findFstabLine, formatFstabLine, type FstabEntry, readFstab, setFstabLine, writeFstab } from "./fstab.ts";

const MOUNT_POINT_MODE = 0o755;
/** Options whose effect shows in the mount table under their own name: only these are compared and remounted. */
const VISIBLE = new Set(["ro", "rw", "nodev", "nosuid", "noexec", "noatime", "nodiratime", "relatime", "sync"]);

const params = z.strictObject({
  name: absolutePath.describe("The mount point"),
  device: absolutePath.describe("The device, such as /dev/mapper/data"),
  fstype: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_.]*$/u)
    .describe("The file system, such as ext4"),
  opts: z
    .union([z.string(), z.array(z.string().regex(/^[^,\s\0]+$/u))])
    .default("defaults")
    .describe("Mount options, as a list or separated by commas"),
  mkmnt: z.boolean().default(false).describe("Make the mount point when it is missing"),
  allow_unsafe_path: unsafePathParam,
  persist: z.boolean().default(false).describe("Also keep a line in /etc/fstab, with noauto and nofail"),
});
type Params = z.infer<typeof params>;

const optionsOf = ({ opts }: Params): readonly string[] =>
  (typeof opts === "string" ? opts.split(",") : opts).map((option) => option.trim()).filter((option) => option !== "");

const entryOf = (wanted: Params): FstabEntry => ({
  device: wanted.device,
  mountPoint: wanted.name,
  fsType: wanted.fstype,
  options: [...new Set([...optionsOf(wanted), "noauto", "nofail"])],
});

/** What is mounted there. Throws HostError `mount-covered` for what no path leads to any more (I9). */
function findMount(mounts: readonly Mount[], real: string): Mount | undefined {
  const found = findMountOn(mounts, real);
  if (found?.coveredBy === undefined) return found?.mount;
  throw mountCovered(real, found.mount, found.coveredBy);
}

/** File systems on disks whose mounts have a device number of their own. */
const DISK_TYPES = new Set(["btrfs", "zfs", "bcachefs"]);

/** Whether there is a block device behind a mount: anonymous file systems (tmpfs, NFS) have major number 0. */
const isOnDisk = ({ number, fsType }: Mount): boolean => !number.startsWith("0:") || DISK_TYPES.has(fsType);

/**
 * Mounting must not take from sight what is on a disk and mounted further down (I9). What else is there is returned: systemd
 * mounts a tmpfs or an NFS share of fstab before there is a key.
 */
function assertNothingBelow(wanted: Params, mounts: readonly Mount[], real: string): readonly Mount[] {
  const all = mountsBelow(mounts, real);
  const below = all.find((mount) => isOnDisk(mount));
  if (below === undefined) return all;
  const finding = `would cover ${below.source}, which is mounted on "${below.mountPoint}"`;
  throw new HostError("would-cover", `cannot mount "${wanted.device}" on "${wanted.name}": it ${finding}`, {
    hint: "unmount that first: what is mounted inside comes up last",
    facts: { path: wanted.device, finding },
  });
}

/** A device that has another file system, or none yet, is told apart before anything is mounted. */
async function assertFileSystem({ host }: CheckContext, wanted: Params, device: BlockDevice): Promise<void> {
  const superblock = await readSuperblock(host, device.path);
  if (superblock?.fsType === wanted.fstype) return;
  const known = ["ext4", "xfs", "btrfs"].includes(wanted.fstype);
  if (superblock === undefined && !known) return;
  const finding = await findContents(host, device);
  if (finding === undefined) {
    throw missingDevice(`cannot mount "${device.path}": it has no file system yet`, device.path);
  }
  throw wrongDevice(`cannot mount "${device.path}" as ${wanted.fstype}: it ${finding}`, device.path, finding);
}

function compareOptions(mount: Mount, wanted: Params): readonly Change[] {
  const missing = optionsOf(wanted).filter((option) => VISIBLE.has(option) && !mount.options.includes(option));
  return missing.length === 0
    ? []
    : [{ field: "opts", from: mount.options.join(","), to: optionsOf(wanted).join(",") }];
}

/** The device as the mount table has it; only file systems with numbers of their own need its kernel name. */
async function mountableDevice(host: Host, path: string): Promise<MountableDevice> {
  const stat = await host.stat(path);
  if (stat?.kind !== "block") throw missingDevice(`cannot find device "${path}": there is nothing at this path`, path);
  return { number: stat.rdev, kernelName: (await readKernelName(host, path)) ?? "" };
}

/** The mount point, held, made where it was missing. */
async function takePoint(wanted: Params, context: ApplyContext): Promise<HeldPath> {
  const options = { followLast: true, allowUnsafePath: wanted.allow_unsafe_path, parentsMode: MOUNT_POINT_MODE };
  const held = await context.host.holdPath(wanted.name, options);
  if (held === undefined) throw new HostError("no-mount-point", `cannot mount on "${wanted.name}": it went away`);
  try {
    if (held.found === undefined) await held.makeDirectory({ mode: MOUNT_POINT_MODE });
    return held;
  } catch (error) {
    held[Symbol.dispose]();
    throw error;
  }
}

async function checkMount(wanted: Params, context: CheckContext): Promise<readonly Change[]> {
  const { host } = context;
  const { name } = wanted;
  const device = await requireBlockDevice(host, wanted.device);
  const seen = await lookAt(host, name, { allowUnsafePath: wanted.allow_unsafe_path });
  const mounts = await readMounts(host);
  const real = seen?.path ?? name;
  const mount = findMount(mounts, real);
  if (mount !== undefined) {
    if (await isMountOf(host, mount, device)) return compareOptions(mount, wanted);
    throw wrongDevice(
      `cannot mount "${wanted.device}" on "${name}": ${mount.source} (${mount.fsType}) is mounted there`,
      wanted.device,
      `mount point taken by ${mount.source}`,
    );
  }
  await assertFileSystem(context, wanted, device);
  const elsewhere = await findUse(host, device);
  if (elsewhere !== undefined) {
    throw wrongDevice(`cannot mount "${wanted.device}" on "${name}": it ${elsewhere}`, wanted.device, elsewhere);
  }
  assertNothingBelow(wanted, mounts, real);
  const point = seen?.found;
  if (point === undefined && !wanted.mkmnt) {
    throw new HostError("no-mount-point", `cannot mount on "${name}": there is no such directory`, {
      hint: "set mkmnt: true",
    });
  }
  if (point !== undefined && point.kind !== "directory") {
    throw new HostError("no-mount-point", `cannot mount on "${name}": it is a ${point.kind}`);
  }
  return [{ field: "mounted", from: null, to: wanted.device }];
}

async function checkFstab(wanted: Params, { host }: CheckContext): Promise<readonly Change[]> {
  if (!wanted.persist) return [];
  const present = findFstabLine(await readFstab(host), wanted.name);
  const to = formatFstabLine(entryOf(wanted));
  return present === to ? [] : [{ field: "fstab", from: present ?? null, to }];
}

/** `mount.mounted`: unlike Salt's, `persist` is false unless asked for, since a key is needed before the mount. */
export const mountMounted = defineState({
  kind: "resource",
  name: "mount.mounted",
  summary: "Mounts a file system, and keeps a line in fstab only when asked.",
  params,
  check: async (wanted, context) => [...(await checkMount(wanted, context)), ...(await checkFstab(wanted, context))],
  apply: async (wanted, context, changes) => {
    const { host } = context;
    const fields = new Set(changes.map(({ field }) => field));
    const options = optionsOf(wanted).join(",") || "defaults";
    if (fields.has("mounted")) {
      using held = await takePoint(wanted, context);
      const mounts = await readMounts(host);
      const device = await mountableDevice(host, wanted.device);
      for (const { fsType, mountPoint } of assertNothingBelow(wanted, mounts, held.path)) {
        context.note(`covers the ${fsType} that is mounted on "${mountPoint}": mount that anew, after the volume`);
      }
      await runMount(context, held, ["-t", wanted.fstype, "-o", options, "--", wanted.device]);
      await assertMountedThere(context, wanted, { path: held.path, mounts, device });
      context.mounted?.(wanted.device);
      context.reached("provision:mounted");
    }
    if (fields.has("opts")) {
      using held = await takePoint(wanted, context);
      await runMount(context, held, ["-o", `remount,${options}`, "--", wanted.device]);
    }
    if (fields.has("fstab")) {
      await writeFstab(host, setFstabLine(await readFstab(host), entryOf(wanted)));
    }
  },
  settled: ({ name, device }) => `${device} is mounted on ${name}`,
});
