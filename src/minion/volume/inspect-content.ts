import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { LayerStatus } from "../../core/volume-status.ts";
import type { VolumeProblem } from "../../core/volume-report.ts";
import type { BlockDevice } from "../../states/devices/block-device.ts";
import { findMountOn, type Mount, mountAt, readMounts } from "../../states/devices/mount-table.ts";
import { findSignatures, SIGNATURE_SPAN, type Signature } from "../../states/devices/signatures.ts";
import { readSuperblock } from "../../states/devices/superblock.ts";
import type { VolumePlaces } from "../../states/volume/places.ts";
import { type Finding, type InspectContext, layerStatus, tryDevice, tryRange } from "./layer-status.ts";

async function readContent(host: Host, path: string): Promise<Signature | undefined> {
  try {
    const superblock = await readSuperblock(host, path);
    if (superblock) return { kind: superblock.fsType, label: superblock.label, uuid: superblock.uuid };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
  }
  return findSignatures((await tryRange(host, path, SIGNATURE_SPAN)) ?? Buffer.alloc(0))[0];
}

async function mountsOf(host: Host, device: BlockDevice | undefined, path: string, fsType: string) {
  const mounts = await readMounts(host);
  // btrfs shows a device number of its own in the mount table
  const isOurs = (mount: Mount) =>
    device !== undefined && (mount.number === device.number || (fsType === "btrfs" && mount.source === path));
  return { mounts, ours: mounts.filter((mount) => isOurs(mount)) };
}

/** File system and mount; nothing for a volume that declares none. */
export async function inspectContent(
  context: InspectContext,
  { content }: VolumePlaces,
  base: readonly string[],
): Promise<Finding> {
  const { host, volume } = context;
  const { fs, mount } = volume;
  if (fs === undefined) return { layers: [], problems: [] };
  const path = content ?? "";
  const device = path === "" ? undefined : await tryDevice(host, path);
  const { mounts, ours } = await mountsOf(host, device, path, fs.type);
  const below = { device: path, bytes: device?.bytes ?? 0, sub: path === "" ? [] : [path], base: [...base] };
  const problems: VolumeProblem[] = [];
  const found = device === undefined ? undefined : await readContent(host, path);
  const isWrong = found !== undefined && found.kind !== fs.type;
  if (isWrong) problems.push({ code: "wrong-file-system", text: `it has ${found.kind}, not ${fs.type}`, fatal: true });
  const state = device === undefined ? "down" : found === undefined ? "not-provisioned" : isWrong ? "warn" : "up";
  const seen = ours.find((one) => mountAt(mounts, one.mountPoint) === one);
  const use = seen === undefined ? undefined : await spaceOf(host, seen.mountPoint);
  const details = { type: found?.kind ?? fs.type, label: found?.label ?? "", uuid: found?.uuid ?? "", ...use };
  const layers = [layerStatus("fs", fs.type, state, { ...below, details })];
  if (mount !== undefined) layers.push(await inspectMount(context, mounts, ours, below, problems));
  return { layers, problems };
}

async function inspectMount(
  { host, volume }: InspectContext,
  mounts: readonly Mount[],
  ours: readonly Mount[],
  below: Pick<LayerStatus, "device" | "sub" | "base">,
  problems: VolumeProblem[],
): Promise<LayerStatus> {
  const point = volume.mount?.point ?? "";
  const real = (await host.realPath(point)) ?? point;
  const found = findMountOn(mounts, real);
  const there = found?.mount;
  const isOurs = there !== undefined && ours.includes(there);
  const { device, sub, base } = below;
  const options = there === undefined ? "" : there.options.join(",");
  if (there !== undefined && !isOurs) {
    const text = `${there.source} (${there.fsType}) is mounted on "${point}"`;
    problems.push({ code: "mount-taken", text, fatal: true });
    return layerStatus("mount", point, "warn", {
      device,
      sub,
      base,
      details: { mounted: false, source: there.source },
    });
  }
  if (found?.coveredBy !== undefined) {
    const { source, mountPoint } = found.coveredBy;
    problems.push({
      code: "mount-covered",
      text: `"${point}" is covered by ${source} on "${mountPoint}"`,
      fatal: true,
    });
    const details = { mounted: true, coveredBy: mountPoint };
    return layerStatus("mount", point, "warn", { device, sub, base, details });
  }
  const elsewhere = ours.map(({ mountPoint }) => mountPoint).filter((other) => other !== real);
  const state = isOurs
    ? there.options.includes("ro") && !wantsReadOnly(volume.mount?.options)
      ? "warn"
      : "up"
    : "down";
  if (state === "warn") problems.push({ code: "read-only", text: `"${point}" is mounted read-only`, fatal: false });
  return layerStatus("mount", point, state, { device, sub, base, details: { mounted: isOurs, options, elsewhere } });
}

const wantsReadOnly = (options: readonly string[] | undefined) => options?.includes("ro") === true;

async function spaceOf(host: Host, mountPoint: string) {
  try {
    const space = await host.space(mountPoint);
    return space === undefined
      ? {}
      : { total: space.total, used: space.total - space.free, available: space.available };
  } catch (error) {
    if (error instanceof HostError) return {};
    throw error;
  }
}

/** Units and their state, by one process for all. */
export async function inspectDependents({ host, volume }: InspectContext): Promise<Finding> {
  const { dependents } = volume;
  if (dependents.length === 0) return { layers: [], problems: [] };
  let stdout = "";
  try {
    // units in the order asked for, a blank line between
    const argv = ["systemctl", "show", "--property=ActiveState,LoadState", "--", ...dependents] as const;
    ({ stdout } = await host.run(argv, { timeoutMs: 10_000 }));
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
  }
  const blocks = stdout.split("\n\n");
  const layers = dependents.map((unit, index) => {
    const lines = (blocks[index] ?? "").split("\n");
    const valueOf = (key: string) => lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
    const active = valueOf("ActiveState");
    const load = valueOf("LoadState");
    const isUp = active === "active" || active === "reloading";
    const state = isUp ? "up" : active === "failed" || load === "not-found" || active === "" ? "warn" : "down";
    return layerStatus("dependents", unit, state, { details: { active, load } });
  });
  return { layers, problems: [] };
}
