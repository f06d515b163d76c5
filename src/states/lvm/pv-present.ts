import { z } from "../../core/schema.ts";
import { requireBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { exclusively } from "../devices/exclusive.ts";
import { holding } from "../devices/held-device.ts";
import { createPhysicalVolume, findPhysicalVolume, type PvFinding } from "../devices/physical-volume.ts";
import { seenDevices, seenOn } from "../devices/seen-devices.ts";
import { absolutePath, lvmName } from "../devices/storage-params.ts";
import { type ApplyContext, defineState } from "../state.ts";

const params = z.strictObject({
  name: absolutePath.describe("The device, by any of its names, such as /dev/sdb"),
  vg: lvmName.optional().describe("The volume group that it may belong to; in another one it is refused"),
});

/** Throws HostError `wrong-device` when the device belongs to another group than it may. */
function assertGroup(name: string, wanted: string | undefined, finding: PvFinding): void {
  const other = finding.kind === "pv" ? finding.group?.name : undefined;
  if (wanted === undefined || other === undefined || other === wanted) return;
  throw wrongDevice(
    `cannot use "${name}" for volume group "${wanted}": it is a physical volume of volume group "${other}"`,
    name,
    `physical volume of "${other}"`,
  );
}

/** `lvm.pv_present`: formats only what is provably blank (I2). */
export const lvmPvPresent = defineState({
  kind: "resource",
  name: "lvm.pv_present",
  summary: "Makes an LVM physical volume of a blank device.",
  params,
  check: async ({ name, vg }, context) => {
    const device = await requireBlockDevice(context.host, name);
    const finding = await findPhysicalVolume(context, device);
    assertGroup(name, vg, finding);
    if (finding.kind === "pv") return [];
    const from = finding.kind === "blank" ? null : "unfinished";
    return seenOn([{ field: "physical volume", from, to: name }], device);
  },
  apply: async ({ name, vg }, context, changes) => {
    const make = async (held: ApplyContext): Promise<void> => {
      const device = await requireBlockDevice(held.host, name);
      await exclusively(device.identity, async () => {
        assertGroup(name, vg, await findPhysicalVolume(held, device));
        await createPhysicalVolume(held, device);
      });
    };
    await holding(context, name, make, seenDevices(changes).get(name));
  },
  settled: ({ name }) => `${name} is a physical volume`,
});
