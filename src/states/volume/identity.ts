import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { findContents } from "../devices/blank.ts";
import {
  type BlockDevice,
  describeKernelName,
  listBlockDevices,
  readBlockDevice,
  readDeviceSize,
  topmost,
} from "../devices/block-device.ts";
import { freshMapping } from "../devices/fresh-mapping.ts";
import { findMembership, type Membership } from "../devices/membership.ts";
import { readLuksHeader } from "../devices/luks-header.ts";
import { readLvmLabel } from "../devices/lvm-label.ts";
import { findVolumeGroup, SKIPPED_DEVICES } from "../devices/lvm-scan.ts";
import { readSuperblock } from "../devices/superblock.ts";
import type { ApplyContext, CheckContext } from "../state.ts";
import { volumePlaces } from "./places.ts";
import { targetOf, type VolumeSpec } from "./spec.ts";

const knownSchema = z.strictObject({
  /** UUID of the LUKS header, "" for none. */
  luksUuid: z.string(),
  /** UUID of the file system, "" for none. */
  fsUuid: z.string(),
  /** The disks (or the loop file): where they were, what they carry (a PV, LUKS or file system UUID), and serial or WWID. */
  bases: z.array(
    z.strictObject({
      path: z.string(),
      uuid: z.string(),
      identity: z.string(),
      /** Size then, 0 for a note of before sizes were noted. */
      bytes: z.number().default(0),
    }),
  ),
});

/** What a volume was when it last came up on this machine. */
export type KnownVolume = z.infer<typeof knownSchema>;

type Named = Pick<VolumeSpec, "name">;
const noteKey = (name: string): string => `volume-identity:${name}`;
/** Noted from the end of unprovision until it comes up anew: what the master has in escrow of it counts for nothing. */
const removedKey = (name: string): string => `volume-removed:${name}`;

/**
 * What this machine knows of a volume that it brought up before; undefined for one that it never did, and after it was
 * unprovisioned. Kept in the journal: synced, one file a volume. Throws HostError `identity-damaged`.
 */
export async function readKnownVolume(
  context: Pick<CheckContext, "pending">,
  name: string,
): Promise<KnownVolume | undefined> {
  const note = await context.pending(noteKey(name));
  if (note === undefined) return undefined;
  const parsed = knownSchema.safeParse(note);
  if (parsed.success) return parsed.data;
  throw new HostError("identity-damaged", `cannot read what this machine knows of volume "${name}"`, {
    hint: "the note in its state directory is damaged",
  });
}

/** Whether a volume was unprovisioned here, and did not come up anew since. */
export async function isRemoved(context: Pick<CheckContext, "pending">, name: string): Promise<boolean> {
  if ((await context.pending(removedKey(name))) === undefined) return false;
  return (await context.pending(noteKey(name))) === undefined;
}

/** The UUID of what a device or file carries: physical volume, LUKS header or file system; "" for nothing that has one. */
async function uuidOn(host: Host, path: string): Promise<string> {
  const label = await readLvmLabel(host, path);
  if (label.kind === "valid") return label.label.pvUuid;
  const luks = await readLuksHeader(host, path);
  if (luks.kind === "valid") return luks.header.uuid;
  return (await readSuperblock(host, path))?.uuid ?? "";
}

async function luksUuidOn(host: Host, path: string | undefined): Promise<string> {
  const luks = path === undefined ? undefined : await readLuksHeader(host, path);
  return luks?.kind === "valid" ? luks.header.uuid : "";
}

/**
 * Writes down what a volume that is up consists of, so that it is told from others when devices swap names, and never made
 * anew in place of one that is missing. Reads only, and writes only when something is new.
 */
export async function rememberVolume(context: ApplyContext & { readonly volume: VolumeSpec }): Promise<void> {
  const { host, volume } = context;
  const places = await volumePlaces(host, volume);
  const bases: KnownVolume["bases"] = [];
  for (const path of places.bases) {
    const device = await readBlockDevice(host, path);
    const about = { identity: device?.identity ?? "", bytes: device?.bytes ?? 0 };
    bases.push({ path: volume.loop?.file ?? path, uuid: await uuidOn(host, path), ...about });
  }
  const luksUuid = await luksUuidOn(host, places.encrypted);
  const content = volume.fs && places.content;
  const fsUuid = content === undefined ? "" : ((await readSuperblock(host, content))?.uuid ?? "");
  const known: KnownVolume = { luksUuid, fsUuid, bases };
  // up as it is declared: what was made is there, or was never to be
  if (luksUuid !== "" && (await context.pending(freshMapping(luksUuid))) !== undefined) {
    await context.commit(freshMapping(luksUuid));
  }
  const before = await context.pending(noteKey(volume.name));
  if (JSON.stringify(before) === JSON.stringify(known)) return;
  await context.begin(noteKey(volume.name), known);
  if ((await context.pending(removedKey(volume.name))) !== undefined) await context.commit(removedKey(volume.name));
}

/** Forgets a volume: what is at its place may be made anew. For the end of unprovision alone. */
export async function forgetVolume(context: ApplyContext, { name }: Named): Promise<void> {
  await context.begin(removedKey(name), true);
  await context.commit(noteKey(name));
}

/**
 * Before a volume is made that this machine knows nothing of: throws HostError `known-elsewhere` when the master has a LUKS
 * header of it in escrow, since then its disk is somewhere else or its header is gone, and this machine has only lost its notes.
 * Throws TransportError when the master cannot be asked.
 */
export async function assertNeverMade(context: ApplyContext, volume: string): Promise<void> {
  if (context.escrowedUuid === undefined || (await readKnownVolume(context, volume)) !== undefined) return;
  if ((await context.pending(removedKey(volume))) !== undefined) return;
  const luksUuid = await context.escrowedUuid(volume);
  if (luksUuid === "") return;
  const target = targetOf(context.grains, volume);
  const what = `the master has a header of it in escrow (LUKS UUID ${luksUuid}), and there is no such header in its place`;
  throw new HostError("known-elsewhere", `cannot make volume "${volume}": ${what}`, {
    hint: `attach the right disk, or put its header back: latchkey volume header restore ${target}; to give the data up: latchkey volume unprovision ${target}`,
    facts: { volume, luksUuid },
  });
}

/** Throws HostError `wrong-device` when the layer that is to be made, or used, is not the one that the volume had. */
export async function assertKnownLayer(
  context: CheckContext,
  volume: string | undefined,
  layer: "LUKS" | "file system",
  path: string,
  uuid: string | undefined,
): Promise<void> {
  const known = volume === undefined ? undefined : await readKnownVolume(context, volume);
  const wanted = layer === "LUKS" ? known?.luksUuid : known?.fsUuid;
  if (volume === undefined || !wanted || wanted === uuid) return;
  const found = uuid === undefined ? "is blank" : `has ${layer} UUID ${uuid}`;
  throw refusal(context, volume, `${layer} UUID ${wanted}`, `"${path}" ${found}`, path);
}

function refusal(
  { grains }: Pick<CheckContext, "grains">,
  volume: string,
  what: string,
  found: string,
  path: string,
  code = "wrong-device",
  hint = "attach or restore the right disk",
): HostError {
  return new HostError(code, `cannot use volume "${volume}": it was provisioned with ${what}, and ${found}`, {
    hint: `${hint}; to give the data up: latchkey volume unprovision ${targetOf(grains, volume)}`,
    facts: { path, finding: found },
  });
}

/** What is at a declared place instead. */
async function describePlace(host: Host, path: string): Promise<{ readonly found: string; readonly code: string }> {
  const device = await readBlockDevice(host, path);
  if (device === undefined) return { found: `there is nothing at "${path}"`, code: "device-missing" };
  const contents = await findContents(host, device);
  return { found: `the device at "${path}" ${contents ?? "is blank"}`, code: "wrong-device" };
}

interface Place {
  readonly path: string;
  readonly holders: readonly string[];
  readonly kernelName: string;
  /** Why it is not the volume's, although it shows its content. */
  readonly unfit: Membership | undefined;
}

type Known = KnownVolume["bases"][number];

/**
 * What speaks against a device with a disk's UUID being that disk: a part of it, one of a multipath device of which there was a map, or one
 * that ends earlier. Physical volumes are made smaller within their group: LVM itself knows what it needs.
 */
async function findUnfit(
  host: Host,
  device: BlockDevice,
  base: Known | undefined,
  isPv: boolean,
): Promise<Membership | undefined> {
  const membership = await findMembership(host, device);
  if (membership !== undefined || base === undefined) return membership;
  if (base.identity.startsWith("mpath-") && device.mapping?.uuid !== base.identity && device.mapping === undefined) {
    return {
      finding: `is one path of the multipath device ${base.identity}, whose map is not there`,
      hint: "see why: multipath -ll",
    };
  }
  return isPv ? undefined : findShrunk(device.bytes, base);
}

const MADE_SMALLER =
  "make it as large as before; one that was made smaller on purpose, with its file system, is known anew once this machine's note " +
  "is removed: the file with its name in journal/ of the minion's state_dir";

function findShrunk(bytes: number, base: Known): Membership | undefined {
  if (bytes >= base.bytes) return undefined;
  return { finding: `is ${bytes} bytes, of ${base.bytes} that it was provisioned on`, hint: MADE_SMALLER };
}

/** Everywhere that each of the UUIDs is; of a multipath device only the topmost. */
async function findPlaces(
  host: Host,
  bases: readonly Known[],
  isPv: boolean,
): Promise<ReadonlyMap<string, readonly Place[]>> {
  const found = new Map<string, Place[]>();
  for (const kernelName of await listBlockDevices(host)) {
    if (SKIPPED_DEVICES.test(kernelName) || (await readDeviceSize(host, kernelName)) === 0) continue;
    const node = `/dev/${kernelName.replaceAll("!", "/")}`;
    try {
      const uuid = await uuidOn(host, node);
      const base = bases.find((one) => one.uuid === uuid);
      const device = base && (await readBlockDevice(host, node));
      if (device === undefined) continue;
      const path = device.mapping === undefined ? node : await describeKernelName(host, kernelName);
      const unfit = await findUnfit(host, device, base, isPv);
      found.set(uuid, [...(found.get(uuid) ?? []), { path, holders: device.holders, kernelName, unfit }]);
    } catch (error) {
      // a device that cannot be read is not the one
      if (!(error instanceof HostError)) throw error;
    }
  }
  return new Map([...found].map(([uuid, places]) => [uuid, topmost(places)]));
}

/** Throws HostError `device-missing` when a declared disk is only a part of it, or smaller than what was noted of it. */
async function assertWholeDisks(
  context: CheckContext & { readonly volume: VolumeSpec },
  bases: readonly Known[],
): Promise<void> {
  const { host, volume, grains } = context;
  for (const path of volume.disks) {
    const device = (await host.stat(path)) && (await readBlockDevice(host, path));
    if (device === undefined) continue;
    const uuid = bases.length === 0 ? "" : await uuidOn(host, path);
    const base = bases.find((one) => one.uuid !== "" && one.uuid === uuid);
    const unfit = await findUnfit(host, device, base, volume.lvm !== undefined);
    if (unfit === undefined) continue;
    throw new HostError("device-missing", `cannot use volume "${volume.name}": "${path}" ${unfit.finding}`, {
      hint: `${unfit.hint}; to give the data up: latchkey volume unprovision ${targetOf(grains, volume.name)} --force`,
      facts: { path, finding: unfit.finding },
    });
  }
}

async function resolveDisks(
  context: CheckContext & { readonly volume: VolumeSpec },
  known: KnownVolume,
  note: (line: string) => void,
): Promise<VolumeSpec> {
  const { host, volume } = context;
  const disks = [...volume.disks];
  const uuids = await Promise.all(disks.map((path) => uuidOn(host, path)));
  const lost = known.bases.filter(({ uuid }) => uuid !== "" && !uuids.includes(uuid));
  if (lost.length === 0) return volume;
  const group = volume.lvm && (await findVolumeGroup(host, volume.lvm.vg));
  const places = await findPlaces(host, lost, volume.lvm !== undefined);
  for (const { path, uuid } of lost) {
    // taken out of its group since
    if (group !== undefined && !group.pvUuids.includes(uuid)) continue;
    const isOpen = (index: number) => !known.bases.some((base) => base.uuid === uuids[index]);
    const same = disks.findIndex((disk, index) => disk === path && isOpen(index));
    const slot = same >= 0 ? same : disks.findIndex((_, index) => isOpen(index));
    const declared = disks[slot];
    if (declared === undefined) continue;
    const all = places.get(uuid) ?? [];
    const [place, second] = all.filter(({ unfit }) => unfit === undefined).map((fit) => fit.path);
    const what = volume.lvm === undefined && volume.luks !== undefined ? `LUKS UUID ${uuid}` : `UUID ${uuid}`;
    if (place === undefined) {
      const [part] = all;
      if (part?.unfit !== undefined) {
        const { finding, hint } = part.unfit;
        throw refusal(context, volume.name, what, `"${part.path}" ${finding}`, declared, "device-missing", hint);
      }
      const { found, code } = await describePlace(host, declared);
      throw refusal(context, volume.name, what, found, declared, code);
    }
    if (second !== undefined) {
      throw refusal(
        context,
        volume.name,
        what,
        `both "${place}" and "${second}" have it`,
        declared,
        "ambiguous-device",
      );
    }
    note(`data is on ${place} now, the pillar says ${declared}`);
    disks[slot] = place;
    uuids[slot] = uuid;
  }
  return { ...volume, disks };
}

async function assertLoopFile(
  context: CheckContext,
  { name, loop, luks, lvm }: VolumeSpec,
  known: KnownVolume,
): Promise<void> {
  const { host } = context;
  const wanted = known.bases[0]?.uuid ?? "";
  const path = loop?.file ?? "";
  if (wanted === "" || path === "") return;
  const what = lvm === undefined && luks !== undefined ? `LUKS UUID ${wanted}` : `UUID ${wanted}`;
  if ((await host.stat(path)) === undefined) {
    throw refusal(context, name, what, `there is no file "${path}"`, path, "device-missing");
  }
  const uuid = await uuidOn(host, path);
  const [base] = known.bases;
  const file = await host.stat(path);
  if (uuid === wanted) {
    const shrunk =
      base && lvm === undefined ? findShrunk(file?.kind === "file" ? file.size : base.bytes, base) : undefined;
    if (shrunk === undefined) return;
    const found = `"${path}" ${shrunk.finding}`;
    throw refusal(context, name, what, found, path, "device-missing", shrunk.hint);
  }
  throw refusal(
    context,
    name,
    what,
    `the file "${path}" ${uuid === "" ? "is blank or damaged" : `has UUID ${uuid}`}`,
    path,
  );
}

/**
 * The volume with its disks where they are now: told by what they carry (PV, LUKS or file system UUID), never by name
 * alone. `note` hears of every one that is elsewhere than the pillar says. A volume that never came up on this machine is returned
 * as it is, unless a declared disk is only a part of one (`device-missing`). Throws HostError `wrong-device`, `device-missing` or `ambiguous-device` saying what was found when a disk is nowhere, or
 * in two places: what is in its place, blank or not, is never used. No process is started unless there is something to refuse.
 */
export async function resolveVolume(
  context: CheckContext & { readonly volume: VolumeSpec },
  note: (line: string) => void = () => undefined,
): Promise<VolumeSpec> {
  const { volume } = context;
  const known = await readKnownVolume(context, volume.name);
  if (volume.loop === undefined) await assertWholeDisks(context, known?.bases ?? []);
  if (known === undefined) return volume;
  if (volume.loop === undefined) return resolveDisks(context, known, note);
  await assertLoopFile(context, volume, known);
  return volume;
}

/** As `resolveVolume`, for what takes a volume down or only looks: one that cannot be resolved is taken as it is declared. */
export async function resolveIfPossible(
  context: CheckContext & { readonly volume: VolumeSpec },
  note?: (line: string) => void,
): Promise<VolumeSpec> {
  try {
    return await resolveVolume(context, note);
  } catch (thrown) {
    if (thrown instanceof HostError) return context.volume;
    throw thrown;
  }
}
