import { z } from "../../core/schema.ts";
import { type CheckContext, defineState, type Outcome } from "../state.ts";
import { downParts } from "./down-parts.ts";
import { volumePlaces } from "./places.ts";
import { volumeOf, volumeSchema, type VolumeSpec } from "./spec.ts";
import { stackContext } from "./stack-context.ts";
import { takeDown } from "./take-down.ts";
import { isUpByName } from "./up-by-name.ts";

const params = z.strictObject({
  name: z.string().describe("The volume: one that the pillar declares, or a name for the stack given here"),
  kill_holders: z.boolean().default(false).describe("End processes that hold the mount: TERM, then KILL"),
  force: z.boolean().default(false).describe("Close it although no stored key is proven to open it again"),
  ...volumeSchema.shape,
});
type Params = z.infer<typeof params>;

const settled = (name: string): Outcome => ({ result: true, changes: {}, comment: `volume ${name} is down` });

/** The layers that are up, from the top. */
async function upLayers(context: CheckContext, volume: VolumeSpec): Promise<readonly string[]> {
  const up: string[] = [];
  for (const part of downParts(volume, await volumePlaces(context.host, volume))) {
    if (await isUpByName(context, part, up.length > 0)) up.push(`${part.title} ${part.subject}`);
  }
  return up;
}

/** `volume.stopped` */
export const volumeStopped = defineState<Params>({
  kind: "action",
  name: "volume.stopped",
  summary: "Stops what depends on a volume and takes the volume down: unmounted, closed, deactivated, detached.",
  params,
  predict: async (wanted, context) => {
    const up = await upLayers(context, volumeOf(context.pillar, wanted));
    if (up.length === 0) return settled(wanted.name);
    const changes = Object.fromEntries(up.map((layer) => [layer, { old: "up", new: "down" }]));
    return { result: null, changes, comment: `would take down volume ${wanted.name}` };
  },
  act: async (wanted, context) => {
    const volume = volumeOf(context.pillar, wanted);
    const { kill_holders: killHolders, force } = wanted;
    const changes = await takeDown(stackContext(context, volume), { killHolders, force });
    const fields = Object.keys(changes);
    if (fields.length === 0) return settled(wanted.name);
    return { result: true, changes, comment: `volume ${wanted.name} is down: ${fields.join(", ")}` };
  },
});
