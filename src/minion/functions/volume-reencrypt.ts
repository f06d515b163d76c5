import { ConfigError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { VOLUME_NAME } from "../../states/volume/spec.ts";
import { defineFunction } from "./function.ts";
import { onEncrypted } from "./volume-rotate.ts";

const names = z.array(z.string().regex(VOLUME_NAME)).length(1, "name one volume").describe("The volume.");

/** Throws ConfigError `no-backup` unless it was said that there is one. */
function assertBackup(hasBackup: boolean): void {
  if (hasBackup) return;
  throw new ConfigError(
    "no-backup",
    "cannot re-encrypt: data was lost where a re-encryption was interrupted, and went on afterwards",
    { hint: "make a backup of what is on the volume, and say --i-have-a-backup (volume.reencrypt: i_have_a_backup)" },
  );
}

/** `volume.reencrypt*`: a new volume key, every sector written anew. */
export const volumeReencryptFunctions = [
  defineFunction({
    name: "volume.reencrypt",
    summary: "Gives a volume a new volume key, or goes on with a re-encryption that was cut short.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({
      names,
      drop_slots: z
        .array(z.number().int().min(0).max(31))
        .max(32)
        .default([])
        .describe("Keyslots of people that are lost by it: each has to be named."),
      i_have_a_backup: z.boolean().default(false).describe("There is a backup of what is on it: refused without."),
    }),
    run: async (params, context) =>
      onEncrypted(
        params.names,
        context,
        async (volume) => {
          assertBackup(params.i_have_a_backup);
          const { reencryptVolume } = await import("../volume/reencrypt.ts");
          return reencryptVolume(volume, params.drop_slots, context.volumes);
        },
        { locks: "itself" },
      ),
  }),
  defineFunction({
    name: "volume.reencrypt_resume",
    summary: "Goes on with a re-encryption that was cut short; nothing happens when there is none.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, context) =>
      onEncrypted(
        params.names,
        context,
        async (volume) => {
          const { resumeReencryption } = await import("../volume/reencrypt.ts");
          return resumeReencryption(volume, context.volumes);
        },
        { locks: "itself" },
      ),
  }),
];
