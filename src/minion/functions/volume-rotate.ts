import type { JsonObject } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { VOLUME_NAME } from "../../states/volume/spec.ts";
import { errorText } from "../../core/error-text.ts";
import type { VolumeContext } from "../volume/runner.ts";
import type { VolumeOutcome } from "../volume/rotate.ts";
import { defineFunction, type FunctionContext, type FunctionResult } from "./function.ts";

const names = z
  .array(z.string().regex(VOLUME_NAME))
  .default([])
  .describe("Volumes; every encrypted one when not given.");

/**
 * Runs `work` on the named volumes, or on all encrypted ones, one after the other; one that fails does not stop the next. The
 * machine's run lock is held for each, unless the work takes it itself.
 */
export async function onEncrypted(
  wanted: readonly string[],
  { volumes }: FunctionContext,
  work: (context: VolumeContext) => Promise<VolumeOutcome>,
  { locks = "whole" }: { readonly locks?: "whole" | "itself" } = {},
): Promise<FunctionResult> {
  const selected = await volumes.select(wanted);
  const chosen = wanted.length > 0 ? selected : selected.filter(({ luks }) => luks !== undefined);
  const outcomes: Record<string, JsonObject> = {};
  const underLock = async (context: VolumeContext) =>
    volumes.exclusively(async () => {
      const outcome = await work(context);
      await volumes.settle();
      return outcome;
    });
  for (const volume of chosen) {
    const context = await volumes.context(volume);
    let outcome: VolumeOutcome;
    try {
      outcome = locks === "itself" ? await work(context) : await underLock(context);
    } catch (error) {
      context.signal.throwIfAborted();
      outcome = { result: false, comment: errorText(error), changes: {} };
    }
    const comment = [...context.notes(), outcome.comment].join("\n");
    outcomes[volume.name] = { result: outcome.result, comment, changes: outcome.changes };
  }
  return { data: outcomes, retcode: Object.values(outcomes).every(({ result }) => result === true) ? 0 : 1 };
}

/** `volume.rotate*`: a new key for a volume, step by step, none of which can lose it. */
export const volumeRotateFunctions = [
  defineFunction({
    name: "volume.rotate",
    summary: "Gives volumes a new version of their key, or goes on with a rotation that was cut short.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({
      names,
      keep_old: z.boolean().default(false).describe("Keep the old keyslot until volume.rotate_finish."),
    }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { rotateVolume } = await import("../volume/rotate.ts");
        return rotateVolume(volume, { keepOld: params.keep_old });
      }),
  }),
  defineFunction({
    name: "volume.rotate_finish",
    summary: "Kills the old keyslots that a rotation kept.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { finishRotation } = await import("../volume/rotate.ts");
        return finishRotation(volume);
      }),
  }),
  defineFunction({
    name: "volume.rotate_rollback",
    summary: "Takes a rotation back while both keyslots exist: the old version is the key again.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { rollBackRotation } = await import("../volume/roll-back.ts");
        return rollBackRotation(volume);
      }),
  }),
  defineFunction({
    name: "volume.rotate_resume",
    summary: "Goes on with rotations that were cut short, of every encrypted volume or those named.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { resumeRotation } = await import("../volume/resume-rotation.ts");
        return (await resumeRotation(volume)) ?? { result: true, comment: "nothing was cut short", changes: {} };
      }),
  }),
];
