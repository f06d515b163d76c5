/**
 * The steps of everything on a volume that is not atomic, in the order in which they are reached: at each of them a minion,
 * a master or a whole host may be ended, and the volume must still open afterwards. Each is reported with
 * `reached` when its effect is on disk. The kill matrix runs over this list.
 */
export const VOLUME_STEPS = {
  provision: [
    "provision:loop-file",
    "provision:loop",
    "provision:pv",
    "provision:vg",
    "provision:lv",
    "provision:luks-noted",
    "provision:luks-formatted",
    "provision:luks-token",
    "provision:luks-committed",
    "provision:opened",
    "provision:fs-noted",
    "provision:fs-made",
    "provision:mounted",
  ],
  rotate: [
    "rotate:noted",
    "rotate:minted",
    "rotate:leased",
    "rotate:slot-added",
    "rotate:slot-proven",
    "rotate:receipt-sent",
    "rotate:committed",
    "rotate:old-slot-killed",
    "rotate:verified",
    "rotate:done",
  ],
  grow: ["grow:noted", "grow:loop-file", "grow:loop", "grow:pv", "grow:lv", "grow:luks", "grow:fs"],
  header: ["header:read", "header:sent", "header:stored"],
  unprovision: [
    "unprovision:noted",
    "unprovision:stopped",
    "unprovision:keyslots-erased",
    "unprovision:layers-removed",
    "unprovision:forgotten",
  ],
} as const;

/** Steps of operations that the kill matrix leaves out; each has a kill test of its own. */
export const FURTHER_VOLUME_STEPS = {
  rollback: ["rollback:noted", "rollback:reverting", "rollback:new-slot-killed", "rollback:done"],
  reencrypt: ["reencrypt:noted", "reencrypt:begun", "reencrypt:data-written", "reencrypt:done"],
} as const;

export type VolumeOperation = keyof typeof VOLUME_STEPS;
export type VolumeStep =
  | (typeof VOLUME_STEPS)[VolumeOperation][number]
  | (typeof FURTHER_VOLUME_STEPS)[keyof typeof FURTHER_VOLUME_STEPS][number];
