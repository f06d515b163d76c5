import { HostError } from "../../core/errors.ts";
import { isJsonObject, type Json } from "../../core/json.ts";
import { type BlockDevice, findMapping, readBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { findUse } from "../devices/blank.ts";
import { assertNoMember } from "../devices/membership.ts";
import { holding, swappedDevice } from "../devices/held-device.ts";
import { findLoop } from "../devices/loop-device.ts";
import { findLoss } from "../devices/loss.ts";
import { readLuksHeader } from "../devices/luks-header.ts";
import { keyslotsOf } from "../devices/luks-slots.ts";
import { findVolumeGroup } from "../devices/lvm-scan.ts";
import { findPhysicalVolume } from "../devices/physical-volume.ts";
import { readSuperblock } from "../devices/superblock.ts";
import { assertUnshared, assertUnsharedDevice } from "../devices/volume-sharers.ts";
import { loopDetached } from "../loop/detached.ts";
import { lvmLvAbsent } from "../lvm/lv-absent.ts";
import type { StackChanges } from "./bring-up.ts";
import { forgetVolume, readKnownVolume } from "./identity.ts";
import { resource, stackParts } from "./parts.ts";
import { volumePlaces } from "./places.ts";
import { targetOf } from "./spec.ts";
import type { StackContext } from "./stack-context.ts";
import { takeDown } from "./take-down.ts";

/** How a volume is removed. */
export interface DestroyOptions {
  readonly killHolders: boolean;
  /** Go on although no stored key is proven to open it. */
  readonly force: boolean;
}

type Changes = Record<string, Json>;

/** What the volume's content was known by when its removal began; "" for nothing that was recognised. */
interface Note {
  readonly uuid: string;
}

const journalKey = (name: string): string => `unprovision:${name}`;

/** Whether a removal of this volume began and was cut short. */
export async function isBeingDestroyed(context: StackContext): Promise<boolean> {
  return (await context.pending(journalKey(context.volume.name))) !== undefined;
}

/**
 * Before a volume is brought up: a removal that was cut short before anything was erased is given up. Throws HostError
 * `being-removed` when it went further: then it can only be finished.
 */
export async function giveUpRemoval(context: StackContext): Promise<void> {
  const { volume, host } = context;
  const begun = await context.pending(journalKey(volume.name));
  if (begun === undefined) return;
  const device = await reachContent(context);
  const uuid = device === undefined ? "" : await contentUuid(context, device);
  const luks = device === undefined ? undefined : await readLuksHeader(host, device.path);
  const isWhole = volume.luks === undefined || (luks?.kind === "valid" && keyslotsOf(luks.header).length > 0);
  if (uuid === "" || uuid !== notedUuid(begun) || !isWhole) {
    throw new HostError(
      "being-removed",
      `cannot bring up volume "${volume.name}": its removal began and is not finished`,
      {
        hint: `finish it: latchkey volume unprovision ${targetOf(context.grains, volume.name)}`,
      },
    );
  }
  await context.commit(journalKey(volume.name));
  context.note("its removal was cut short before anything was erased: given up");
}

const notedUuid = (note: Json): string => {
  const uuid = isJsonObject(note) ? note["uuid"] : undefined;
  return typeof uuid === "string" ? uuid : "";
};

/** Attaches and activates what is there, makes nothing: keyslots can only be erased on a device that can be written. */
async function reachContent(context: StackContext): Promise<BlockDevice | undefined> {
  const { host, volume } = context;
  for (const title of ["loop device", "logical volume"]) {
    const part = (await stackParts(host, volume)).find((candidate) => candidate.title === title);
    if (part === undefined) continue;
    const at = context.at(part.layer);
    try {
      const found = await part.state.check(part.params, at);
      if (found.some(({ field }) => part.makes.includes(field))) return undefined;
      if (found.length > 0) await part.state.apply(part.params, at, found);
    } catch (error) {
      if (error instanceof HostError && error.code === "device-missing") return undefined;
      throw error;
    }
  }
  const { logical, bases } = await volumePlaces(host, volume);
  const device = logical ?? bases[0];
  return device === undefined ? undefined : readBlockDevice(host, device);
}

/** UUID of what is on the device: a LUKS header, or a file system where the volume has no LUKS. */
async function contentUuid({ host, volume }: StackContext, { path }: BlockDevice): Promise<string> {
  const luks = await readLuksHeader(host, path);
  if (luks.kind === "valid") return volume.luks === undefined ? "" : luks.header.uuid;
  return volume.luks === undefined ? ((await readSuperblock(host, path))?.uuid ?? "") : "";
}

/**
 * Throws HostError `wrong-device` when what is in the volume's place is another's: its own disk is elsewhere, or gone; `device-missing` when
 * it is only a member of its disk.
 */
async function assertOwn(context: StackContext, device: BlockDevice | undefined): Promise<void> {
  for (const path of (await volumePlaces(context.host, context.volume)).bases) {
    const base = await readBlockDevice(context.host, path);
    if (base !== undefined) await assertNoMember(context.host, base, "remove what is on");
  }
  const { name, luks } = context.volume;
  const known = await readKnownVolume(context, name);
  const wanted = luks === undefined ? known?.fsUuid : known?.luksUuid;
  const uuid = device === undefined ? "" : await contentUuid(context, device);
  if (device === undefined || !wanted || uuid === "" || uuid === wanted) return;
  const finding = `UUID ${uuid} is on "${device.path}"`;
  const what = `it was provisioned with UUID ${wanted}, and ${finding}; nothing was changed`;
  throw new HostError("wrong-device", `cannot remove volume "${name}": ${what}`, {
    hint: "attach the right disk, or correct the pillar; with --force what is there now is removed",
    facts: { path: device.path, finding },
  });
}

/** Throws HostError `wrong-device` for a loop file with anything in it that is not the volume's own: it would be deleted (I2). */
async function assertNothingElse(context: StackContext, device: BlockDevice | undefined): Promise<void> {
  const { host, volume } = context;
  if (device === undefined || volume.loop === undefined || volume.lvm !== undefined) return;
  const own = await contentUuid(context, device);
  // a removal that was cut short may have left half a header
  const begun = await context.pending(journalKey(volume.name));
  if (own !== "" || (begun !== undefined && notedUuid(begun) !== "")) return;
  const loss = await findLoss(host, device, undefined);
  if (loss === undefined) return;
  const what = `"${volume.loop.file}" ${loss}, and is not this volume's; nothing was changed`;
  throw new HostError("wrong-device", `cannot remove volume "${volume.name}": ${what}`, {
    hint: "correct the pillar; with --force the file is deleted with all that is in it",
    facts: { path: volume.loop.file, finding: loss },
  });
}

/** Throws HostError `volume-shared`, also with force: LVM removes snapshots with what they were made of. */
async function assertNotShared({ host, volume }: StackContext, device: BlockDevice | undefined): Promise<void> {
  const { lvm, name } = volume;
  if (lvm !== undefined) await assertUnshared(host, lvm.vg, lvm.lv ?? name, "remove");
  else if (device !== undefined) await assertUnsharedDevice(host, device, "remove what is on");
}

async function noteBegin(context: StackContext, device: BlockDevice | undefined, force: boolean): Promise<Note> {
  const key = journalKey(context.volume.name);
  const begun = await context.pending(key);
  const uuid = device === undefined ? "" : await contentUuid(context, device);
  if (begun !== undefined && !force) {
    const noted = notedUuid(begun);
    if (uuid === "" || noted === uuid) return { uuid: noted };
    const what = `${device?.path ?? ""} has ${uuid} on it now, not ${noted || "nothing"}`;
    throw new HostError("wrong-device", `cannot go on removing volume "${context.volume.name}": ${what}`, {
      hint: "its removal began with something else on it; with --force what is there now is removed",
      facts: { path: device?.path ?? "", finding: uuid },
    });
  }
  await context.begin(key, { uuid });
  return { uuid };
}

/** Erases every keyslot, and then what makes the device look like LUKS: in that order, so that a cut leaves no key. */
async function eraseKeyslots(given: StackContext, device: BlockDevice, note: Note, changes: Changes): Promise<void> {
  await holding(given, device.path, (held) => eraseHeld(held, device, note, changes), device.identified);
}

async function eraseHeld({ host, signal }: StackContext, device: BlockDevice, { uuid }: Note, changes: Changes) {
  const luks = await readLuksHeader(host, device.path);
  if (luks.kind !== "valid" || luks.header.uuid !== uuid) return;
  const slots = keyslotsOf(luks.header);
  if (slots.length === 0) return;
  await host.run(["cryptsetup", "erase", "--batch-mode", "--", device.path], { signal });
  const after = await readLuksHeader(host, device.path);
  if (after.kind === "valid" && keyslotsOf(after.header).length > 0) {
    throw new HostError("still-different", `cannot erase the keyslots of "${device.path}": some are left`);
  }
  changes["keyslots"] = { old: slots.map(({ slot }) => slot).join(", "), new: "erased" };
}

/** Takes the signatures off a device whose content was the volume's own; anything else stays. */
async function wipe(given: StackContext, path: string, note: Note, changes: Changes): Promise<void> {
  if (note.uuid === "" || (await given.host.stat(path)) === undefined) return;
  await holding(given, path, (held) => wipeHeld(held, path, note, changes));
}

async function wipeHeld(context: StackContext, path: string, { uuid }: Note, changes: Changes): Promise<void> {
  const { host, signal } = context;
  const device = await readBlockDevice(host, path);
  if (device === undefined || (await contentUuid(context, device)) !== uuid) return;
  const use = await findUse(host, device);
  if (use !== undefined) throw wrongDevice(`cannot wipe "${path}": it ${use}`, path, use);
  await host.run(["wipefs", "--all", "--quiet", "--", path], { signal });
  changes[`signatures ${path}`] = { old: uuid, new: "wiped" };
}

/** Removes the group and its physical volumes when nothing is left in it and it is on the declared disks alone. */
async function removeEmptyGroup(context: StackContext, changes: Changes): Promise<void> {
  const { host, volume, signal } = context;
  const { lvm } = volume;
  if (lvm === undefined) return;
  const { bases } = await volumePlaces(host, volume);
  const own = new Map<string, BlockDevice>();
  for (const path of bases) {
    const device = await readBlockDevice(host, path);
    if (device !== undefined) own.set(device.kernelName, device);
  }
  const group = await findVolumeGroup(host, lvm.vg);
  if (group !== undefined) {
    const isOurs = group.devices.every((path) => own.has(path.slice("/dev/".length)));
    if (group.volumes.length > 0 || !isOurs) {
      context.note(`volume group ${lvm.vg} stays: ${isOurs ? "it has other volumes" : "it is on other disks too"}`);
      return;
    }
    // LVM passes over a group of that name with another UUID
    await host.run(["vgremove", "--quiet", "--select", `vg_uuid=${group.uuid}`, "--", lvm.vg], { signal });
    const left = await findVolumeGroup(host, lvm.vg);
    if (left !== undefined) {
      throw swappedDevice(lvm.vg, `volume group ${group.uuid}`, `volume group ${left.uuid}`, "that one stays");
    }
    changes["volume group"] = { old: lvm.vg, new: "removed" };
  }
  for (const { path, identified } of own.values()) {
    await holding(context, path, (held) => removeLabel(held, path, changes), identified);
  }
}

/** Takes the label off a physical volume of no group. */
async function removeLabel(context: StackContext, path: string, changes: Changes): Promise<void> {
  const { host, signal } = context;
  const device = await readBlockDevice(host, path);
  if (device === undefined || device.holders.length > 0) return;
  const label = await findPhysicalVolume(context, device);
  if (label.kind !== "pv" || label.group !== undefined) return;
  await host.run(["pvremove", "--quiet", "--", path], { signal });
  changes[`physical volume ${path}`] = { old: label.uuid, new: "removed" };
}

async function removeLayers(context: StackContext, note: Note, changes: Changes): Promise<void> {
  const { host, volume } = context;
  const { loop, lvm, name, luks } = volume;
  const { logical, bases } = await volumePlaces(host, volume);
  const content = logical ?? bases[0];
  if (content !== undefined) await wipe(context.at(luks === undefined ? "fs" : "luks"), content, note, changes);
  if (lvm !== undefined) {
    const { vg, lv = name } = lvm;
    const absent = resource(lvmLvAbsent);
    const params = absent.params.parse({ name: lv, vg, ...(note.uuid === "" ? {} : { lose: note.uuid }) });
    const at = context.at("lv");
    const found = await absent.check(params, at);
    if (found.length > 0) await absent.apply(params, at, found);
    if (found.length > 0) changes["logical volume"] = { old: `/dev/${vg}/${lv}`, new: "removed" };
    await removeEmptyGroup(context.at("vg"), changes);
  }
  if (loop !== undefined) await removeLoop(context.at("loop"), loop.file, changes);
}

/** Detaches and deletes the file; one in which a volume group has other volumes stays. */
async function removeLoop(context: StackContext, file: string, changes: Changes): Promise<void> {
  const { host, volume } = context;
  const path = await findLoop(host, file);
  const device = path === undefined ? undefined : await readBlockDevice(host, path);
  const loss = device && volume.lvm && (await findLoss(host, device, undefined));
  if (loss !== undefined) {
    context.note(`the file ${file} stays: it ${loss}`);
    return;
  }
  const detached = resource(loopDetached);
  const params = detached.params.parse({ name: file });
  const found = await detached.check(params, context);
  if (found.length > 0) await detached.apply(params, context, found);
  const isThere = (await host.stat(file)) !== undefined;
  await host.remove(file);
  if (isThere) changes["loop file"] = { old: file, new: "removed" };
}

/**
 * Removes a volume for good: stops it, erases its keyslots, removes what it was made of (a group and disks only when nothing
 * else is in them, a loop file), and has the master set its key aside. Only content that is the volume's own, by
 * the UUID noted at the beginning, is ever touched. Cut short anywhere, the next call goes on. The caller has asked.
 */
export async function destroy(context: StackContext, options: DestroyOptions): Promise<StackChanges> {
  const { volume } = context;
  const changes: Changes = {};
  const device = await reachContent(context);
  await assertNotShared(context, device);
  if (!options.force) {
    await assertOwn(context, device);
    await assertNothingElse(context, device);
  }
  const note = await noteBegin(context, device, options.force);
  context.reached("unprovision:noted");
  try {
    Object.assign(changes, await takeDown(context, { ...options, upTo: "luks" }));
  } catch (thrown) {
    // nothing was erased yet: it is as if nobody had asked
    await context.commit(journalKey(volume.name));
    throw thrown;
  }
  context.reached("unprovision:stopped");
  if (device !== undefined && volume.luks !== undefined) {
    if ((await findMapping(context.host, volume.luks.name ?? volume.name)) !== undefined) {
      throw new HostError("device-busy", `cannot remove volume "${volume.name}": its mapping is open again`);
    }
    await eraseKeyslots(context.at("luks"), device, note, changes);
  }
  context.reached("unprovision:keyslots-erased");
  await removeLayers(context, note, changes);
  context.reached("unprovision:layers-removed");
  const forgotten = await context.forgetKey?.();
  if (forgotten !== undefined && forgotten !== "") changes["key"] = { old: "stored", new: forgotten };
  await forgetVolume(context, volume);
  context.reached("unprovision:forgotten");
  await context.commit(journalKey(volume.name));
  return changes;
}
