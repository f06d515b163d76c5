import { ConfigError, HostError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { LeasedKey } from "../../states/state.ts";
import { adoptToken, findLuksToken } from "../../states/devices/luks-token.ts";
import { escrowAfter } from "./after-change.ts";
import {
  addKeyslot,
  killKeyslot,
  MACHINE_KDF,
  opensSlot,
  requireFreeKeyslot,
  setPriority,
  slotsOpenedBy,
} from "./keyslots.ts";
import { type LuksDevice, requireLuks2, withLuksDevice } from "./luks-device.ts";
import { type RotationAnswer, type TellMaster, tellMaster } from "./rotation-steps.ts";
import type { VolumeContext } from "./runner.ts";

/** What became of a volume. */
export interface VolumeOutcome {
  readonly result: boolean;
  readonly comment: string;
  readonly changes: JsonObject;
}

/** Keys in hand, by version. */
type Keys = ReadonlyMap<number, LeasedKey>;

/** One rotation under way. */
export interface Rotation {
  readonly context: VolumeContext;
  readonly device: LuksDevice;
  readonly tell: TellMaster;
  readonly from: number;
  readonly to: number;
  readonly versions: readonly number[];
  readonly keepOld: boolean;
}

/** Journal key of a volume's rotation. */
export const rotationNote = (volume: string): string => `rotate:${volume}`;

const keyOf = ({ volume }: VolumeContext): string => volume.luks?.key ?? "";

async function note({ context, device, from, to, keepOld }: Rotation, stage: string, slot = -1): Promise<void> {
  const { luksUuid } = device;
  await context.begin(rotationNote(context.volume.name), { luksUuid, from, to, slot, stage, keepOld });
}

/** Leases these versions, all in hand at once while `use` runs. */
export async function withVersions<T>(
  { context, device }: Pick<Rotation, "context" | "device">,
  versions: readonly number[],
  use: (keys: Keys) => Promise<T>,
  keys: Keys = new Map(),
): Promise<T> {
  const [version, ...others] = versions;
  if (version === undefined) return use(keys);
  const subject = { device: device.path, luksUuid: device.luksUuid, version };
  return context.lease(keyOf(context), "rotate", subject, async (key) =>
    withVersions({ context, device }, others, use, new Map([...keys, [version, key]])),
  );
}

/** Which slots the keys in hand open, and which versions the header itself names. */
export async function lookAtSlots({ context, device: { path } }: Pick<Rotation, "context" | "device">, keys: Keys) {
  const header = await requireLuks2(context, path);
  const token = findLuksToken(header);
  const machine = token.kind === "valid" ? token.token.machine : [];
  const also = machine.map(({ slot }) => slot);
  const found = new Map<number, readonly number[]>();
  for (const [version, key] of keys) {
    const except = [...found.values()].flat();
    found.set(version, await slotsOpenedBy(context, path, header, key, { also, except }));
  }
  return { header, machine, found };
}

/** Runs `use` with a stored version that opens the header: those in hand, else each other one in turn. */
async function withOpener<T>(rotation: Rotation, keys: Keys, use: (keys: Keys) => Promise<T>): Promise<T> {
  const { context, device, versions } = rotation;
  const { found } = await lookAtSlots(rotation, keys);
  if ([...found.values()].some((slots) => slots.length > 0)) return use(keys);
  const others = versions.filter((version) => !keys.has(version)).toReversed();
  for (const version of others) {
    const tried = await withVersions(rotation, [version], async (more) => {
      const { found: opened } = await lookAtSlots(rotation, more);
      if ((opened.get(version) ?? []).length === 0) return undefined;
      context.note(`version ${version} of the key opens the header`);
      return { value: await use(new Map([...keys, ...more])) };
    });
    if (tried !== undefined) return tried.value;
  }
  throw new HostError(
    "no-stored-key-opens",
    `cannot rotate the key of volume "${context.volume.name}": none of its ${versions.length} stored versions opens "${device.path}"; nothing was changed`,
    {
      hint: "if the volume is open, `latchkey volume rescue` stores a new key from it",
      facts: { device: device.path, luksUuid: device.luksUuid },
    },
  );
}

/** Sees to it that the new key has a keyslot of its own, preferred and proven; returns its number. */
async function ensureSlot(rotation: Rotation, keys: Keys, fresh: LeasedKey): Promise<number> {
  const { context, device, to } = rotation;
  const { path } = device;
  const { header, found } = await lookAtSlots(rotation, keys);
  let slot = found.get(to)?.[0];
  if (slot === undefined) {
    const opener = [...found].find(([version, slots]) => version !== to && slots.length > 0);
    const opens = opener && keys.get(opener[0]);
    if (opens === undefined) throw new HostError("no-stored-key-opens", `no key in hand opens "${path}"`);
    slot = requireFreeKeyslot(header, path);
    await note(rotation, "adding", slot);
    await addKeyslot(context, path, { opens: opens.secret, added: fresh.secret }, { slot, kdf: MACHINE_KDF });
  }
  await setPriority(context, path, await requireLuks2(context, path), slot, "prefer");
  await note(rotation, "slot-added", slot);
  context.reached("rotate:slot-added");
  if (!(await opensSlot(context, path, fresh.secret, slot))) {
    throw new HostError("slot-not-proven", `cannot rotate: the new keyslot ${slot} of "${path}" does not open`);
  }
  const { name: volume } = context.volume;
  await adoptToken(context, path, { slot, version: to }, { volume, made: context.machine.clock.now() });
  context.reached("rotate:slot-proven");
  await escrowAfter(context, "rotate");
  context.progress(`keyslot ${slot} has version ${to} and opens`);
  return slot;
}

/** Kills every slot of the other versions in hand; what no stored key opens is not ours and stays. */
async function killOld(rotation: Rotation, keys: Keys, fresh: LeasedKey, slot: number): Promise<readonly number[]> {
  const { context, device, to } = rotation;
  const { found } = await lookAtSlots(rotation, keys);
  const old = [...found].filter(([version]) => version !== to).flatMap(([, slots]) => slots);
  // the one that must stay was seen to open right before another goes
  for (const each of old) {
    if (each === slot || !(await opensSlot(context, device.path, fresh.secret, slot))) {
      throw new HostError(
        "slot-not-proven",
        `cannot kill keyslot ${each} of "${device.path}": slot ${slot} is not proven`,
      );
    }
    await killKeyslot(context, device.path, fresh.secret, each);
  }
  return old;
}

async function verify(rotation: Rotation, keys: Keys): Promise<void> {
  const { device, to } = rotation;
  const { found } = await lookAtSlots(rotation, keys);
  const stillOld = [...found].find(([version, slots]) => version !== to && slots.length > 0);
  if ((found.get(to) ?? []).length === 1 && stillOld === undefined) return;
  const why = stillOld === undefined ? "the new key does not open it" : `version ${stillOld[0]} still opens it`;
  throw new HostError("rotation-not-verified", `cannot end the rotation of "${device.path}": ${why}`);
}

async function carryOut(rotation: Rotation, keys: Keys): Promise<VolumeOutcome> {
  const { context, tell, from, to } = rotation;
  const fresh = keys.get(to);
  if (fresh === undefined) throw new ConfigError("no-new-key", `version ${to} was not leased`);
  const slot = await ensureSlot(rotation, keys, fresh);
  await note(rotation, "proven", slot);
  const committed = await tell("proven", { from, to, slot });
  context.reached("rotate:receipt-sent");
  await note(rotation, "committed", slot);
  context.reached("rotate:committed");
  const changed = { from: `version ${from}`, to: `version ${to}` };
  if (committed.keepOld) {
    await context.commit(rotationNote(context.volume.name));
    const comment = `version ${to} is in keyslot ${slot}; version ${from} still opens it, until rotate finish or rotate rollback`;
    return { result: true, comment, changes: { key: changed, slot: { from: null, to: slot } } };
  }
  const killed = await killOld(rotation, keys, fresh, slot);
  await note(rotation, "old-slot-killed", slot);
  context.reached("rotate:old-slot-killed");
  await verify(rotation, keys);
  context.reached("rotate:verified");
  await escrowAfter(context, "rotate");
  await tell("done", { from, to, slot });
  await context.commit(rotationNote(context.volume.name));
  context.reached("rotate:done");
  const gone = killed.length === 0 ? "the old one was gone already" : `keyslot ${killed.join(", ")} is gone`;
  const slots: Json = { from: killed.join(", "), to: String(slot) };
  return {
    result: true,
    comment: `version ${to} is in keyslot ${slot}; ${gone}`,
    changes: { key: changed, slot: slots },
  };
}

/** The rotation that the master has under way, or a new one. */
async function begin(
  context: VolumeContext,
  device: LuksDevice,
  tell: TellMaster,
  keepOld: boolean,
): Promise<Rotation & { readonly state: RotationAnswer["state"] }> {
  const known = rotationNote(context.volume.name);
  const isNew = (await context.pending(known)) === undefined;
  if (isNew)
    await context.begin(known, { luksUuid: device.luksUuid, from: 0, to: 0, slot: -1, stage: "noted", keepOld });
  context.reached("rotate:noted");
  let answer: RotationAnswer;
  try {
    answer = await tell("begin", { keepOld });
  } catch (error) {
    // the master's word that there is nothing to rotate: then nothing has begun
    if (isNew && error instanceof ConfigError) await context.commit(known);
    throw error;
  }
  const rotation = { context, device, tell, ...answer };
  await note(rotation, "minted");
  context.reached("rotate:minted");
  return rotation;
}

/**
 * Rotates the key of a volume, or goes on with a rotation that was cut short at whatever point: what is on the disk and
 * at the master decides what is left to do. At every instant a stored key opens the header (I3): the new version is durable at the master before
 * it gets a slot (I1), current only when that slot was proven, and only then the old slot is killed.
 */
export async function rotateVolume(
  context: VolumeContext,
  options: { readonly keepOld: boolean },
): Promise<VolumeOutcome> {
  return withLuksDevice(context.at("luks"), async (device, onLuks) => {
    const tell = tellMaster(onLuks, device);
    const rotation = await begin(onLuks, device, tell, options.keepOld);
    if (rotation.state === "reverting") {
      throw new ConfigError(
        "cannot-rotate",
        `cannot rotate the key of volume "${context.volume.name}": it is being rolled back`,
        {
          hint: "run `latchkey volume rotate rollback` again, which ends that",
        },
      );
    }
    const { machine } = await lookAtSlots(rotation, new Map());
    const { from, to, versions } = rotation;
    const named = machine.map(({ version }) => version).filter((version) => versions.includes(version));
    return withVersions(rotation, [...new Set([to, from, ...named])], async (keys) => {
      onLuks.reached("rotate:leased");
      return withOpener(rotation, keys, async (all) => carryOut(rotation, all));
    });
  });
}

/** Ends a rotation whose old slot was kept: it is killed now. */
export async function finishRotation(context: VolumeContext): Promise<VolumeOutcome> {
  const { to, from } = await withLuksDevice(context.at("luks"), async (device) => {
    const tell = tellMaster(context, device);
    const seen = await tell("look");
    return seen.state === "done" ? { to: 0, from: 0 } : tell("finish", { from: seen.from, to: seen.to });
  });
  if (to === 0) return { result: true, comment: "nothing to finish", changes: {} };
  context.note(`the slot of version ${from} goes`);
  return rotateVolume(context, { keepOld: false });
}
