import { z } from "../core/schema.ts";

/** Where the rotation of one volume's key stands at the master. */
export const ROTATION_STATES = ["none", "pending", "committed", "done", "reverting", "rolled-back"] as const;

/**
 * What a minion tells of a rotation. `look`: nothing changes. `begin`: a new version is wanted (or the one of a rotation
 * that is under way). `proven`: it was seen to open its own keyslot. `finish`: the old slot need not be kept any more.
 * `done`: the old slot is gone, and the old key opens nothing. `revert`: the old version was seen to open the header, and is to be the current one again. `reverted`:
 * the new slot is gone.
 */
export const ROTATION_EVENTS = ["look", "begin", "proven", "finish", "done", "revert", "reverted"] as const;

/** Why a master does not go along; the minion's own volume and pillar are all that it speaks of. */
export const ROTATION_REFUSALS = [
  "not-generated",
  "no-key-yet",
  "nothing-open",
  "superseded",
  "rolled-back",
  "not-committed",
  "no-such-version",
  "too-many-versions",
] as const;
export type RotationRefusal = (typeof ROTATION_REFUSALS)[number];

/** `volume.work`: what the master has kept for this host: rotations that are under way, and those of a campaign. */
export const volumeWork = {
  request: z.strictObject({}),
  response: z.strictObject({
    work: z
      .array(
        z.strictObject({
          /** `resume`: go on with one that is under way. `rotate`: begin one. */
          kind: z.enum(["resume", "rotate"]),
          volume: z.string().max(63),
          keepOld: z.boolean(),
        }),
      )
      .max(400),
  }),
} as const;

const version = z.number().int().nonnegative();
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === 64, "expected 64 bytes");

/** `volume.rotation`: a step of a rotation, signed by the minion over the session's handshake hash and every field. */
export const volumeRotation = {
  request: z.strictObject({
    event: z.enum(ROTATION_EVENTS),
    volume: z.string().min(1).max(63),
    /** Pillar path of the key, without `secret:`. */
    path: z.string().min(1).max(500),
    device: z.string().max(4096),
    luksUuid: z.string().max(64),
    /** The version that opens the header besides the new one; 0 when it is not known yet. */
    from: version,
    /** The new version; 0 when it is not known yet. */
    to: version,
    /** Keyslot of the new version; -1 when it has none. */
    slot: z.number().int().min(-1).max(31),
    keepOld: z.boolean(),
    signature: bytes,
  }),
  response: z.discriminatedUnion("verdict", [
    z.strictObject({
      verdict: z.literal("ok"),
      state: z.enum(ROTATION_STATES),
      from: version,
      to: version,
      /** The version that is leased when none is named; 0 for none yet. */
      current: version,
      keepOld: z.boolean(),
      /** Every stored version of the key, oldest first. */
      versions: z.array(version).max(10_000),
    }),
    z.strictObject({ verdict: z.literal("refused"), reason: z.enum(ROTATION_REFUSALS) }),
  ]),
} as const;

/**
 * `volume.erased`: every keyslot of a volume is dead, seen on its disk; signed by the minion over the session's handshake hash
 * and every field. Without it the master destroys nothing for good.
 */
export const volumeErased = {
  request: z.strictObject({
    volume: z.string().min(1).max(63),
    /** Pillar path of the key, without `secret:`. */
    path: z.string().min(1).max(500),
    device: z.string().max(4096),
    luksUuid: z.string().min(1).max(64),
    /** The keyslots that this erase killed; none when they were dead already. */
    killed: z.array(z.number().int().min(0).max(31)).max(32),
    signature: bytes,
  }),
  response: z.strictObject({}),
} as const;

/**
 * `volume.forget`: a volume was removed, its keyslots erased. The master sets every stored version of its key aside: none is
 * leased any more, none is destroyed.
 */
export const volumeForget = {
  request: z.strictObject({
    volume: z.string().min(1).max(63),
    /** Pillar path of the key, without `secret:`. */
    path: z.string().min(1).max(500),
  }),
  response: z.strictObject({
    /** The last version that was set aside now; 0 when there was none left to set aside. */
    through: version,
    /** The pillar itself has the key (`!secret`), where the master cannot forget it. */
    kept: z.boolean(),
  }),
} as const;
