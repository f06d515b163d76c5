import { RECOVERY_TICKET } from "../../core/recovery-ticket.ts";
import { z } from "../../core/schema.ts";
import { VOLUME_NAME } from "../../states/volume/spec.ts";
import { defineFunction } from "./function.ts";
import { onEncrypted } from "./volume-rotate.ts";

const names = z.array(z.string().regex(VOLUME_NAME)).length(1, "name one volume").describe("The volume.");

/** `volume.add_recovery`, `volume.remove_recovery`: passphrases of people. */
export const volumeRecoveryFunctions = [
  defineFunction({
    name: "volume.add_recovery",
    summary: "Adds a person's passphrase in a keyslot of its own; the master hands it over once, under a ticket.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({
      names,
      ticket: z.string().regex(RECOVERY_TICKET).describe("Names the passphrase that the master holds."),
    }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { addRecovery } = await import("../volume/recovery.ts");
        return addRecovery(volume, params.ticket);
      }),
  }),
  defineFunction({
    name: "volume.remove_recovery",
    summary: "Kills the keyslot of a person's passphrase; never one of the master's.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names, slot: z.number().int().min(0).max(31).describe("Number of the keyslot.") }),
    run: async (params, context) =>
      onEncrypted(params.names, context, async (volume) => {
        const { removeRecovery } = await import("../volume/recovery.ts");
        return removeRecovery(volume, params.slot);
      }),
  }),
];
