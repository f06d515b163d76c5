import type { JsonObject } from "../../core/json.ts";
import { RECOVERY_TICKET } from "../../core/recovery-ticket.ts";
import { z } from "../../core/schema.ts";
import { VOLUME_NAME } from "../../states/volume/spec.ts";
import { errorText } from "../../core/error-text.ts";
import { defineFunction, type FunctionContext, type FunctionResult } from "./function.ts";
import { onEncrypted } from "./volume-rotate.ts";

const name = z.string().regex(VOLUME_NAME);
const names = z.array(name).default([]).describe("Volumes; every encrypted one when not given.");
const named = z.array(name).min(1).describe("Volumes, by name.");

/** The longest that one volume may keep a lock waiting; a process that hangs in the kernel is left behind. */
const LOCK_MS = 45_000;

/** All volumes at once, each for a bounded time; waits for no other run of this machine. */
async function lockAll(wanted: readonly string[], { volumes, states }: FunctionContext): Promise<FunctionResult> {
  const { lockVolume } = await import("../volume/lock.ts");
  const selected = await volumes.select(wanted);
  const rows = await Promise.all(
    selected.map(async (volume): Promise<readonly [string, JsonObject]> => {
      const context = await volumes.context(volume);
      const stop = new AbortController();
      const late = context.machine.clock.sleep(LOCK_MS, stop.signal).then(
        () => ({ result: false, comment: `not locked within ${LOCK_MS / 1000} seconds: something hangs`, changes: {} }),
        () => ({ result: false, comment: "", changes: {} }),
      );
      try {
        const { result, comment, changes } = await Promise.race([lockVolume(context, () => states.running()), late]);
        return [volume.name, { result, comment: [...context.notes(), comment].join("\n"), changes }];
      } catch (error) {
        return [volume.name, { result: false, comment: errorText(error), changes: {} }];
      } finally {
        stop.abort();
      }
    }),
  );
  return { data: Object.fromEntries(rows), retcode: rows.every(([, { result }]) => result === true) ? 0 : 1 };
}

/** `volume.lock`, `volume.unlock`, `volume.rescue`, `volume.erase`: what guards the data of a volume, or gives it up. */
export const volumeProtectFunctions = [
  defineFunction({
    name: "volume.lock",
    summary: "Closes volumes at once; suspends one that is in use, which takes its key out of the kernel.",
    kind: "quick",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, context) => lockAll(params.names, context),
  }),
  defineFunction({
    name: "volume.unlock",
    summary: "Gives suspended volumes their key again, and starts those that were closed.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { unlockVolume } = await import("../volume/lock.ts");
        return unlockVolume(volume);
      }),
  }),
  defineFunction({
    name: "volume.rescue",
    summary: "Stores a new working key of volumes that are up and whose stored key does not open them.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({
      names: named,
      ticket: z
        .string()
        .regex(RECOVERY_TICKET)
        .optional()
        .describe("Names a passphrase that the master holds, which opens the volume."),
    }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { rescueVolume } = await import("../volume/rescue.ts");
        return rescueVolume(volume, params.ticket);
      }),
  }),
  defineFunction({
    name: "volume.erase",
    summary: "Closes volumes and kills all their keyslots; the header stays in escrow, which brings them back.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({
      names: named,
      force: z.boolean().default(false).describe("Also without a proven header."),
    }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { eraseVolume } = await import("../volume/erase.ts");
        return eraseVolume(volume, { force: params.force });
      }),
  }),
];
