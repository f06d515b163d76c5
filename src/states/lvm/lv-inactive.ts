import { z } from "../../core/schema.ts";
import { findUnusedVolume } from "../devices/logical-volume.ts";
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
    return volume?.kernelName === undefined ? [] : [{ field: "active", from: true, to: false }];
  },
  apply: async ({ name, vg, vgname }, { host, signal }) => {
    await host.run(["lvchange", "--activate", "n", "--", `${vgname ?? vg}/${name}`], { signal });
  },
  settled: ({ name, vg, vgname }) => `logical volume ${vgname ?? vg}/${name} is not active`,
});
