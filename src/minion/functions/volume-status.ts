import type { JsonObject } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { inspectVolume } from "../volume/inspect.ts";
import { defineFunction, ok } from "./function.ts";

const names = z.array(z.string()).default([]).describe("Volumes; all that the pillar declares when none is named.");

/** `volume.status`, `volume.devs`: they only look. */
export const volumeStatusFunctions = [
  defineFunction<{ readonly names: readonly string[] }>({
    name: "volume.status",
    summary: "Every layer of the declared volumes: device, size, state, keyslots, use; nothing is changed.",
    kind: "quick",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, { volumes }) => {
      const data: Record<string, JsonObject> = {};
      for (const volume of await volumes.select(params.names)) {
        const { layers, report } = await inspectVolume(await volumes.context(volume));
        data[volume.name] = { layers, report };
      }
      return ok(data);
    },
  }),
  defineFunction<{ readonly names: readonly string[] }>({
    name: "volume.devs",
    summary: "The devices below, at the bottom of, and shown by each layer of the declared volumes.",
    kind: "quick",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (params, { volumes }) => {
      const data: Record<string, JsonObject> = {};
      for (const volume of await volumes.select(params.names)) {
        const { layers } = await inspectVolume(await volumes.context(volume));
        const stack = layers.filter(({ layer }) => layer !== "dependents");
        data[volume.name] = {
          layers: stack.map(({ layer, name, sub, base, exposed }) => ({ layer, name, sub, base, exposed })),
        };
      }
      return ok(data);
    },
  }),
];
