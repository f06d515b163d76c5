import { ProtocolError } from "../../core/errors.ts";
import { isJsonObject } from "../../core/json.ts";
import type { Host } from "../../core/host.ts";
import type { ApplyContext, CheckContext } from "../state.ts";
import { newLvmUuid } from "./base62-uuid.ts";
import { assertBlank, findUse, refusal } from "./blank.ts";
import { type BlockDevice, wrongDevice } from "./block-device.ts";
import { notFreshAnyMore } from "./fresh-mapping.ts";
import { readLvmLabel } from "./lvm-label.ts";
import { readVolumeGroup, type VolumeGroup } from "./lvm-metadata.ts";

/** What a device is to LVM. `unfinished`: our own pvcreate was cut short there. */
export type PvFinding =
  | { readonly kind: "blank" }
  | { readonly kind: "unfinished" }
  | { readonly kind: "pv"; readonly uuid: string; readonly group: VolumeGroup | undefined };

const journalKey = (device: BlockDevice): string => `pv-create:${device.identity}`;

async function pendingUuid(context: CheckContext, device: BlockDevice): Promise<string | undefined> {
  const note = await context.pending(journalKey(device));
  return isJsonObject(note) && typeof note["uuid"] === "string" ? note["uuid"] : undefined;
}

/** The group, or "damaged" when no metadata area reads. */
async function readGroup(host: Host, device: BlockDevice): Promise<VolumeGroup | "damaged" | undefined> {
  const finding = await readLvmLabel(host, device.path);
  if (finding.kind !== "valid") return undefined;
  try {
    return await readVolumeGroup(host, device.path, finding.label);
  } catch (error) {
    if (error instanceof ProtocolError) return "damaged";
    throw error;
  }
}

/**
 * Finds out whether a device is a physical volume or may become one. Throws HostError `wrong-device`, naming what was
 * found, when it is neither (I2).
 */
export async function findPhysicalVolume(context: CheckContext, device: BlockDevice): Promise<PvFinding> {
  const { host } = context;
  const label = await readLvmLabel(host, device.path);
  if (label.kind === "none") {
    await assertBlank(context, device, "make a physical volume of");
    return { kind: "blank" };
  }
  const begun = await pendingUuid(context, device);
  if (label.kind === "damaged") {
    if (begun === undefined) throw refusal(device, "has a damaged LVM label", "make a physical volume of");
    return { kind: "unfinished" };
  }
  const group = await readGroup(host, device);
  if (group === "damaged") {
    if (begun === label.label.pvUuid) return { kind: "unfinished" };
    throw wrongDevice(`cannot use "${device.path}": its LVM metadata is damaged`, device.path, "damaged LVM metadata");
  }
  if (begun === label.label.pvUuid && group === undefined) return { kind: "unfinished" };
  return { kind: "pv", uuid: label.label.pvUuid, group };
}

/**
 * Makes a physical volume of a device that `findPhysicalVolume` found blank, or finishes one that was cut short; looks
 * again first. The UUID is chosen here and noted before anything is written, so that a power cut in between is
 * recognised at the next run.
 */
export async function createPhysicalVolume(context: ApplyContext, device: BlockDevice): Promise<void> {
  const { host } = context;
  const finding = await findPhysicalVolume(context, device);
  const key = journalKey(device);
  if (finding.kind === "pv") return;
  if (finding.kind === "unfinished") {
    const use = await findUse(host, device);
    if (use !== undefined) throw refusal(device, use, "make a physical volume of");
  }
  const uuid = newLvmUuid();
  await context.begin(key, { uuid });
  // without --yes pvcreate leaves any signature alone that it finds and we did not
  const again = finding.kind === "unfinished" ? ["--yes"] : [];
  await host.run(["pvcreate", "--quiet", ...again, "--uuid", uuid, "--norestorefile", "--", device.path], {
    signal: context.signal,
  });
  await context.commit(key);
  await notFreshAnyMore(context, device);
  context.reached("provision:pv");
}
