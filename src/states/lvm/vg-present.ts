import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { type BlockDevice, requireBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { exclusively } from "../devices/exclusive.ts";
import { holdingAll, swappedDevice } from "../devices/held-device.ts";
import { findVolumeGroup } from "../devices/lvm-scan.ts";
import { createPhysicalVolume, findPhysicalVolume } from "../devices/physical-volume.ts";
import { seenDevices, seenOn } from "../devices/seen-devices.ts";
import { absolutePath, lvmName } from "../devices/storage-params.ts";
import { type ApplyContext, type Change, type CheckContext, defineState } from "../state.ts";

const params = z.strictObject({
  name: lvmName.describe("The volume group"),
  devices: z
    .union([absolutePath, z.array(absolutePath).min(1)])
    .describe("Its physical volumes, a path or a list; blank devices become physical volumes"),
});
type Params = z.infer<typeof params>;

interface Member {
  readonly device: BlockDevice;
  readonly state: "in" | "free" | "to make";
  /** UUID of the group that it is in; "" for none. */
  readonly groupUuid: string;
}

const pathsOf = ({ devices }: Params): readonly string[] => (typeof devices === "string" ? [devices] : devices);

async function readMembers(wanted: Params, context: CheckContext): Promise<readonly Member[]> {
  const { name } = wanted;
  const members: Member[] = [];
  for (const path of pathsOf(wanted)) {
    const device = await requireBlockDevice(context.host, path);
    const finding = await findPhysicalVolume(context, device);
    if (finding.kind !== "pv") members.push({ device, state: "to make", groupUuid: "" });
    else if (finding.group === undefined) members.push({ device, state: "free", groupUuid: "" });
    else if (finding.group.name === name) {
      members.push({ device, state: "in", groupUuid: finding.group.uuid });
    } else {
      const other = finding.group.name;
      throw wrongDevice(
        `cannot use "${path}" for volume group "${name}": it is a physical volume of volume group "${other}"`,
        path,
        `physical volume of "${other}"`,
      );
    }
  }
  return members;
}

async function check(wanted: Params, context: CheckContext): Promise<readonly Change[]> {
  const members = await readMembers(wanted, context);
  const missing = members.filter(({ state }) => state !== "in");
  if (missing.length === 0) return [];
  const to = missing.map(({ device }) => device.path);
  const devices = members.map(({ device }) => device);
  if (missing.length < members.length) {
    return seenOn([{ field: "added physical volumes", from: null, to }], ...devices);
  }
  const namesake = await findVolumeGroup(context.host, wanted.name);
  if (namesake) {
    throw new HostError(
      "wrong-device",
      `cannot make volume group "${wanted.name}": there is one of this name on ${namesake.devices.join(", ")}`,
      { hint: "name its devices too, or choose another name" },
    );
  }
  return seenOn([{ field: "volume group", from: null, to }], ...devices);
}

/** Groups are told to LVM by their names: throws HostError `device-swapped` when another one had the name by then. */
async function assertOneGroup(wanted: Params, context: CheckContext, uuid: string): Promise<void> {
  for (const { device, state, groupUuid } of await readMembers(wanted, context)) {
    if (state === "in" && (uuid === "" || groupUuid === uuid)) continue;
    const is = state === "in" ? `in group ${groupUuid}` : "in no group";
    throw swappedDevice(
      device.path,
      `for volume group "${wanted.name}" (uuid ${uuid})`,
      is,
      "nothing else was changed",
    );
  }
}

/** On devices that are held. */
async function apply(wanted: Params, context: ApplyContext): Promise<void> {
  const members = await readMembers(wanted, context);
  const missing = members.filter(({ state }) => state !== "in");
  if (missing.length === 0) return;
  for (const { device, state } of missing) {
    if (state === "to make") await exclusively(device.identity, () => createPhysicalVolume(context, device));
  }
  const tool = missing.length === members.length ? "vgcreate" : "vgextend";
  const paths = missing.map(({ device }) => device.path);
  await context.host.run([tool, "--quiet", "--", wanted.name, ...paths], { signal: context.signal });
  await assertOneGroup(wanted, context, members.find(({ state }) => state === "in")?.groupUuid ?? "");
  context.reached("provision:vg");
}

/** `lvm.vg_present`: makes the group, or adds devices to it; never takes one away. */
export const lvmVgPresent = defineState({
  kind: "resource",
  name: "lvm.vg_present",
  summary: "Makes a volume group of physical volumes, or adds missing ones to it.",
  params,
  check,
  apply: (wanted, context, changes) =>
    holdingAll(context, pathsOf(wanted), (held) => apply(wanted, held), seenDevices(changes)),
  settled: ({ name }) => `volume group ${name} has its devices`,
});
