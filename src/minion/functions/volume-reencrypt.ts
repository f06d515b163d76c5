import { z } from "../../core/schema.ts";
import { VOLUME_NAME } from "../../states/volume/spec.ts";
import { defineFunction } from "./function.ts";
import { onEncrypted } from "./volume-rotate.ts";

const names = z.array(z.string().regex(VOLUME_NAME)).length(1, "name one volume").describe("The volume.");

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
    }),
    run: async (params, context) =>
      onEncrypted(
        params.names,
        context,
        async (volume) => {
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
