import { z } from "../../core/schema.ts";
import { formatSize } from "../../core/units.ts";
import { requireBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { holding } from "../devices/held-device.ts";
import {
  assertSameVolume,
  findLogicalVolume,
  findUnusedVolume,
  logicalVolumePath,
  lvmUuidsOf,
  type NamedVolume,
  requireLogicalVolume,
  setActive,
} from "../devices/logical-volume.ts";
import { findLoss } from "../devices/loss.ts";
import { seenOnVolume, seenVolume } from "../devices/seen-devices.ts";
import { assertUnshared } from "../devices/volume-sharers.ts";
import { lowerUuid, lvmName } from "../devices/storage-params.ts";
import { type ApplyContext, type CheckContext, defineState } from "../state.ts";

const params = z
  .strictObject({
    name: lvmName.describe("The logical volume"),
    vgname: lvmName.optional().describe("Its volume group"),
    vg: lvmName.optional().describe("Another name for vgname"),
    lose: lowerUuid
      .optional()
      .describe("UUID of the file system or LUKS header that may be lost with it; anything else in it is refused"),
  })
  .refine(({ vg, vgname }) => (vg === undefined) !== (vgname === undefined), "give vgname (or vg)");
type Params = z.infer<typeof params>;

/** Looks into the very volume that is meant. */
async function assertNoLoss(
  { lose }: Params,
  context: CheckContext,
  volume: NamedVolume,
  kernelName: string,
): Promise<void> {
  const { group, name } = volume;
  const path = logicalVolumePath(group, name);
  const { path: node } = await requireLogicalVolume(context.host, group, name, kernelName);
  await holding(context, node, async ({ host }) => {
    const device = await requireBlockDevice(host, node);
    assertSameVolume(volume, lvmUuidsOf(device.mapping?.uuid ?? "").volume, "nothing was changed");
    const loss = await findLoss(host, device, lose);
    if (loss !== undefined) throw wrongDevice(`cannot remove "${path}": it ${loss}; nothing was changed`, path, loss);
  });
}

/**
 * A volume that is not active is activated for the look, and deactivated again when it stays. It is the one with that UUID which is
 * removed: LVM passes over another one that has come to have its name.
 */
async function remove(wanted: Params, context: ApplyContext, group: string, seen: string | undefined): Promise<void> {
  const { host, signal } = context;
  const { name } = wanted;
  const found = await findUnusedVolume(host, group, name, "remove");
  if (found === undefined) return;
  const volume = { group, name, uuid: seen ?? found.uuid };
  assertSameVolume(volume, found.uuid, "nothing was changed");
  await assertUnshared(host, group, name, "remove");
  const wasActive = found.kernelName !== undefined;
  if (!wasActive) await setActive(host, volume, true, { signal });
  try {
    const active = await findLogicalVolume(host, group, name);
    await assertNoLoss(wanted, context, volume, active?.kernelName ?? "");
  } catch (error) {
    if (!wasActive) await setActive(host, volume, false, { signal });
    throw error;
  }
  // asked for by the state: without --yes it would ask about an active volume
  const which = ["--select", `lv_uuid=${volume.uuid}`, "--", `${group}/${name}`];
  await host.run(["lvremove", "--quiet", "--yes", ...which], { signal });
  const left = await findLogicalVolume(host, group, name);
  assertSameVolume(volume, left?.uuid, "that one stays");
}

/** `lvm.lv_absent`: removes nothing that holds data, unless that very data is named (I2). */
export const lvmLvAbsent = defineState({
  kind: "resource",
  name: "lvm.lv_absent",
  summary:
    "Removes a logical volume that is blank or whose keyslots are erased; never one that holds anything else, or has snapshots.",
  params,
  check: async (wanted, context) => {
    const group = wanted.vgname ?? wanted.vg ?? "";
    const volume = await findUnusedVolume(context.host, group, wanted.name, "remove");
    if (volume === undefined) return [];
    await assertUnshared(context.host, group, wanted.name, "remove");
    const { uuid, kernelName } = volume;
    if (kernelName !== undefined) await assertNoLoss(wanted, context, { group, name: wanted.name, uuid }, kernelName);
    return seenOnVolume([{ field: "logical volume", from: formatSize(volume.bytes), to: null }], uuid);
  },
  apply: (wanted, context, changes) => remove(wanted, context, wanted.vgname ?? wanted.vg ?? "", seenVolume(changes)),
  settled: ({ name, vg, vgname }) => `there is no logical volume ${vgname ?? vg}/${name}`,
});
