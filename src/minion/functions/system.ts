import { LatchkeyError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { assertKeyKept } from "../volume/guard.ts";
import { defineFunction, type FunctionContext, ok } from "./function.ts";

/** Proves of every volume that it comes up again; throws HostError `key-not-kept`, `key-not-current` without `force`. */
async function assertVolumesKept({ volumes }: FunctionContext, force: boolean): Promise<readonly string[]> {
  const notes: string[] = [];
  for (const volume of await volumes.select([])) {
    const context = await volumes.context(volume);
    await assertKeyKept(context, { force });
    notes.push(...context.notes().map((note) => `${volume.name}: ${note}`));
  }
  return notes;
}

/** `system.*`: the machine as a whole. */
export const systemFunctions = [
  defineFunction({
    name: "system.reboot",
    summary:
      "Restarts the machine in good order; returns before it goes down. Refuses when a volume would not open again.",
    kind: "quick",
    positional: [],
    params: z.strictObject({
      force: z.boolean().default(false).describe("Restart although a volume's key would not be kept."),
    }),
    run: async ({ force }, context) => {
      const { host, signal, minion } = context;
      try {
        for (const note of await assertVolumesKept(context, force)) minion.log(note);
      } catch (error) {
        // a pillar that cannot be had says nothing of volumes: forced, it does not keep the machine up
        if (!force || !(error instanceof LatchkeyError) || signal.aborted) throw error;
        minion.log(`forced: ${error.message}`);
      }
      // --no-block: the answer is on its way before systemd stops this minion (systemctl(1))
      await host.run(["systemctl", "--no-block", "reboot"], { signal });
      return ok(true);
    },
  }),
];
