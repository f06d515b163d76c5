import type { Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { formatSize } from "../../core/units.ts";
import { wrongDevice } from "../devices/block-device.ts";
import {
  findLogicalVolume,
  findUnusedVolume,
  logicalVolumePath,
  requireLogicalVolume,
} from "../devices/logical-volume.ts";
import { findLoss } from "../devices/loss.ts";
import { lowerUuid, lvmName } from "../devices/storage-params.ts";
import { type ApplyContext, defineState } from "../state.ts";

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

async function assertNoLoss({ name, lose }: Params, host: Host, group: string, kernelName: string): Promise<void> {
  const loss = await findLoss(host, await requireLogicalVolume(host, group, name, kernelName), lose);
  if (loss === undefined) return;
  const path = logicalVolumePath(group, name);
  throw wrongDevice(`cannot remove "${path}": it ${loss}; nothing was changed`, path, loss);
}

/** A volume that is not active is activated for the look, and deactivated again when it stays. */
async function remove(wanted: Params, { host, signal }: ApplyContext, group: string): Promise<void> {
  const volume = await findUnusedVolume(host, group, wanted.name, "remove");
  if (volume === undefined) return;
  const full = `${group}/${wanted.name}`;
  const wasActive = volume.kernelName !== undefined;
  if (!wasActive) await host.run(["lvchange", "--activate", "y", "--", full], { signal });
  try {
    const active = await findLogicalVolume(host, group, wanted.name);
    await assertNoLoss(wanted, host, group, active?.kernelName ?? "");
  } catch (error) {
    if (!wasActive) await host.run(["lvchange", "--activate", "n", "--", full], { signal });
    throw error;
  }
  // asked for by the state: without --yes it would ask about an active volume
  await host.run(["lvremove", "--quiet", "--yes", "--", full], { signal });
}

/** `lvm.lv_absent`: removes nothing that holds data, unless that very data is named (I2). */
export const lvmLvAbsent = defineState({
  kind: "resource",
  name: "lvm.lv_absent",
  summary: "Removes a logical volume that is blank or whose keyslots are erased; never one that holds anything else.",
  params,
  check: async (wanted, { host }) => {
    const group = wanted.vgname ?? wanted.vg ?? "";
    const volume = await findUnusedVolume(host, group, wanted.name, "remove");
    if (volume === undefined) return [];
    if (volume.kernelName !== undefined) await assertNoLoss(wanted, host, group, volume.kernelName);
    return [{ field: "logical volume", from: formatSize(volume.bytes), to: null }];
  },
  apply: (wanted, context) => remove(wanted, context, wanted.vgname ?? wanted.vg ?? ""),
  settled: ({ name, vg, vgname }) => `there is no logical volume ${vgname ?? vg}/${name}`,
});
