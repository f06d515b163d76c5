import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { type DeviceMapping, findMapping, readBlockDevice, readDeviceSize } from "../devices/block-device.ts";
import { holding, swappedDevice } from "../devices/held-device.ts";
import { readFileSystemSize } from "../devices/file-system-size.ts";
import { assertFits, dataSegment } from "../devices/luks-fit.ts";
import { readLuksHeader } from "../devices/luks-header.ts";
import { isReencrypting } from "../devices/luks-reencryption.ts";
import { findMountOf, findMountOn, isMountOf, readMounts } from "../devices/mount-table.ts";
import { type Growth, type GrowthContext, type GrowthLayer, tooSmall } from "./grow-context.ts";
import { volumePlaces } from "./places.ts";

/** A check of a large file system takes hours; one cut short helps nobody. */
const TIMEOUT_MS = 86_400_000;
/** cryptsetup(8): 1 wrong parameters (no key was given), 2 no permission. */
const NEEDS_KEY = [1, 2] as const;

/** Where a mapping's volume key is in the kernel's keyring, cryptsetup asks for a key before it makes it larger. */
async function resize(
  context: GrowthContext,
  { name, uuid }: DeviceMapping,
  device: string,
  luksUuid: string,
  to: number,
): Promise<void> {
  const { host, signal, volume } = context;
  const isDone = async (): Promise<boolean> => {
    const mapping = await findMapping(host, name);
    if (mapping !== undefined && mapping.uuid !== uuid) {
      throw swappedDevice(`/dev/mapper/${name}`, `mapping ${uuid}`, `mapping ${mapping.uuid}`, "no data is lost");
    }
    return mapping !== undefined && (await readDeviceSize(host, mapping.kernelName)) >= to;
  };
  await isDone();
  const resizing = ["cryptsetup", "resize", "--batch-mode"] as const;
  await host.run([...resizing, "--", name], { stdin: Buffer.alloc(0), okCodes: [0, ...NEEDS_KEY], signal });
  const key = volume.luks?.key;
  if (key === undefined || (await isDone())) return;
  await context.lease(key, "grow", { device, luksUuid }, async ({ secret }) => {
    const options = ["--key-file=-", `--keyfile-size=${secret.length}`];
    await host.run([...resizing, ...options, "--", name], { stdin: secret, signal });
  });
}

/** The open mapping, as large as the device below allows. */
export const LUKS_MAPPING: GrowthLayer = {
  layer: "luks",
  step: "grow:luks",
  find: async ({ host, volume }) => {
    const { luks, name: volumeName } = volume;
    const path = (await volumePlaces(host, volume)).encrypted;
    const device = path === undefined ? undefined : await readBlockDevice(host, path);
    const name = luks?.name ?? volumeName;
    const mapping = device && (await findMapping(host, name));
    if (device === undefined || mapping === undefined || !device.holders.includes(mapping.kernelName)) return [];
    const found = await readLuksHeader(host, device.path);
    // cryptsetup resizes none that has two volume keys: the next run after its end does
    if (found.kind === "valid" && isReencrypting(found.header.metadata)) return [];
    const segment = found.kind === "valid" ? dataSegment(found.header) : undefined;
    if (found.kind !== "valid" || segment === undefined) return [];
    assertFits(found.header, device);
    const to = Math.floor((device.bytes - segment.offset) / segment.sector) * segment.sector;
    const from = await readDeviceSize(host, mapping.kernelName);
    const what = `mapping /dev/mapper/${name}`;
    if (from > to) throw tooSmall(what, from + segment.offset, device.bytes);
    if (from === to) return [];
    const { path: below, identified } = device;
    const growHeld = (held: GrowthContext) => resize(held, mapping, below, found.header.uuid, to);
    return [{ what, from, to, grow: (context) => holding(context, below, growHeld, identified) }];
  },
};

/** The file system, online; ext4 also when nothing mounts it, after the check that its tool demands. */
export const FILE_SYSTEM: GrowthLayer = {
  layer: "fs",
  step: "grow:fs",
  find: async ({ host, volume }) => {
    const path = volume.fs && (await volumePlaces(host, volume)).content;
    const device = path === undefined ? undefined : await readBlockDevice(host, path);
    if (path === undefined || device === undefined) return [];
    const point = (await findMountOf(host, device))?.mountPoint;
    const size = await readFileSystemSize(host, path, device.bytes, point);
    if (size === undefined) return [];
    const { fsType, bytes, possible } = size;
    const what = `${fsType} file system on ${path}`;
    if (bytes > device.bytes) throw tooSmall(what, bytes, device.bytes);
    // what is to be mounted grows once it is; xfs and btrfs cannot grow otherwise
    const isWaiting = point === undefined && (volume.mount !== undefined || fsType === "xfs" || fsType === "btrfs");
    if (possible <= bytes || isWaiting) return [];
    const growHeld = (held: GrowthContext) => growFileSystem(held, fsType, path, point);
    const grow: Growth["grow"] = (context) => holding(context, path, growHeld, device.identified);
    return [{ what, from: bytes, to: possible, grow }];
  },
};

/** Throws HostError `device-swapped` when another device is mounted there by now. */
async function assertMountedOn(host: Host, path: string, point: string): Promise<void> {
  const [device, mount] = [await readBlockDevice(host, path), findMountOn(await readMounts(host), point)?.mount];
  if (device !== undefined && mount !== undefined && (await isMountOf(host, mount, device))) return;
  throw swappedDevice(point, path, mount?.source ?? "no mount", "no data is lost");
}

async function growFileSystem(
  { host, signal }: GrowthContext,
  fsType: string,
  path: string,
  point: string | undefined,
): Promise<void> {
  const options = { timeoutMs: TIMEOUT_MS, signal };
  if (point !== undefined) await assertMountedOn(host, path, point);
  if (fsType.startsWith("ext")) {
    // 1: errors were corrected
    if (point === undefined) await host.run(["e2fsck", "-f", "-p", "--", path], { ...options, okCodes: [0, 1] });
    await host.run(["resize2fs", "--", path], options);
  } else if (point === undefined) {
    throw new HostError("not-mounted", `cannot grow the ${fsType} file system on "${path}": it is not mounted`);
  } else if (fsType === "xfs") await host.run(["xfs_growfs", "-d", "--", point], options);
  else await host.run(["btrfs", "filesystem", "resize", "--", "max", point], options);
}
