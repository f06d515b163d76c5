import { z } from "../../core/schema.ts";
import { activeUuid, findUnusedVolume, setActive } from "../devices/logical-volume.ts";
import { seenOnVolume, seenVolume } from "../devices/seen-devices.ts";
import { lvmName } from "../devices/storage-params.ts";
import { defineState } from "../state.ts";

const params = z
  .strictObject({
    name: lvmName.describe("The logical volume"),
    vgname: lvmName.optional().describe("Its volume group"),
    vg: lvmName.optional().describe("Another name for vgname"),
  })
  .refine(({ vg, vgname }) => (vg === undefined) !== (vgname === undefined), "give vgname (or vg)");

/** `lvm.lv_inactive`: what is in it stays; a volume that there is not is not active. */
export const lvmLvInactive = defineState({
  kind: "resource",
  name: "lvm.lv_inactive",
  summary: "Deactivates a logical volume that nothing uses; what is in it stays.",
  params,
  check: async ({ name, vg, vgname }, { host }) => {
    const volume = await findUnusedVolume(host, vgname ?? vg ?? "", name, "deactivate");
    if (volume?.kernelName === undefined) return [];
    return seenOnVolume([{ field: "active", from: true, to: false }], volume.uuid);
  },
  apply: async ({ name, vg, vgname }, { host, signal }, changes) => {
    const group = vgname ?? vg ?? "";
    const uuid = seenVolume(changes) ?? (await activeUuid(host, group, name));
    if (uuid !== undefined) await setActive(host, { group, name, uuid }, false, { signal });
  },
  settled: ({ name, vg, vgname }) => `logical volume ${vgname ?? vg}/${name} is not active`,
});
