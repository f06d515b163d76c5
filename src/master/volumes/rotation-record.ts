import { z } from "../../core/schema.ts";
import { ROTATION_STATES, type RotationRefusal } from "../../wire/volume-messages.ts";
import type { ROTATION_EVENTS } from "../../wire/volume-messages.ts";

/** Below it, the last rotation of each key: `rotation/<minion id>/<pillar path>`. */
export const ROTATIONS = "rotation/";
export const rotationKey = (id: string, path: string): string => `${ROTATIONS}${id}/${encodeURIComponent(path)}`;

/** The schema of a rotation as it is stored. */
export const rotationSchema = z.strictObject({
  id: z.string(),
  path: z.string(),
  volume: z.string(),
  luksUuid: z.string(),
  /** The version that opened the header before. */
  from: z.number().int().nonnegative(),
  /** The version that was minted for it. */
  to: z.number().int().positive(),
  state: z.enum(ROTATION_STATES).exclude(["none"]),
  /** The old slot stays until the operator says otherwise. */
  keepOld: z.boolean(),
  /** Keyslot of the new version, -1 while it has none. */
  slot: z.number().int(),
  begunAt: z.number(),
  /** Of the last change of state. */
  changedAt: z.number(),
  /**
   * Stored versions that no `!generate` stands for: minted and not proven to open anything yet, or taken back. They stay
   * in the store for ever (I3).
   */
  aside: z.array(z.number().int().positive()),
});
export type RotationRecord = z.infer<typeof rotationSchema>;

/** A step as the minion tells it. */
export interface RotationStep {
  readonly event: (typeof ROTATION_EVENTS)[number];
  readonly from: number;
  readonly to: number;
  readonly slot: number;
  readonly keepOld: boolean;
}

/** What a step comes to: the record as it is from now on, nothing new, or a refusal. */
export type RotationMove =
  | { readonly kind: "changed"; readonly record: RotationRecord }
  | { readonly kind: "same" }
  | { readonly kind: "refused"; readonly reason: RotationRefusal };

const SAME: RotationMove = { kind: "same" };
const refused = (reason: RotationRefusal): RotationMove => ({ kind: "refused", reason });

/** Whether a rotation is under way: there is something left to do. */
export function isOpen(record: RotationRecord | undefined): record is RotationRecord {
  return record !== undefined && ["pending", "committed", "reverting"].includes(record.state);
}

/**
 * Where a rotation goes from `record` with a step other than `look` and `begin`. `current` is the version that is leased
 * when none is named; `hasFrom` says whether `step.from` is one that may be (made by the master or moved into the store). Steps may come twice, late, or in any order: what was
 * done already is the same, what does not fit is refused.
 */
export function moveRotation(
  record: RotationRecord | undefined,
  step: RotationStep,
  about: { readonly current: number; readonly hasFrom: boolean; readonly at: number },
): RotationMove {
  if (record === undefined || record.to !== step.to) return refused("nothing-open");
  const to = (change: Partial<RotationRecord>): RotationMove => ({
    kind: "changed",
    record: { ...record, changedAt: about.at, ...change },
  });
  const { state } = record;
  switch (step.event) {
    case "proven":
      if (state === "committed" || state === "done") return SAME;
      if (state !== "pending") return refused("rolled-back");
      // something else became the key meanwhile, by an import
      if (record.to < about.current) return refused("superseded");
      return to({ state: "committed", slot: step.slot, aside: record.aside.filter((one) => one !== record.to) });
    case "finish":
      if (state !== "committed") return state === "done" ? SAME : refused("not-committed");
      return record.keepOld ? to({ keepOld: false }) : SAME;
    case "done":
      if (state === "done") return SAME;
      return state === "committed" ? to({ state: "done" }) : refused("not-committed");
    case "revert": {
      if (state === "reverting" || state === "rolled-back") return SAME;
      if (state === "done") return refused("nothing-open");
      if (step.from >= record.to || !about.hasFrom) return refused("no-such-version");
      // so that what the minion has just seen to open is the current one
      const later = Array.from({ length: record.to - step.from }, (_, index) => step.from + 1 + index);
      return to({ state: "reverting", aside: [...new Set([...record.aside, ...later])].sort((a, b) => a - b) });
    }
    case "reverted":
      if (state === "rolled-back") return SAME;
      return state === "reverting" ? to({ state: "rolled-back" }) : refused("nothing-open");
    case "look":
    case "begin":
      return SAME;
    default:
      return step.event satisfies never;
  }
}
