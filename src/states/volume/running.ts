import { z } from "../../core/schema.ts";
import type { Json } from "../../core/json.ts";
import { defineState, type Outcome } from "../state.ts";
import { bringUp } from "./bring-up.ts";
import { planStack, type StackPlan } from "./plan.ts";
import { volumeOf, volumeSchema } from "./spec.ts";
import { stackContext } from "./stack-context.ts";

const params = z.strictObject({
  name: z.string().describe("The volume: one that the pillar declares, or a name for the stack given here"),
  ...volumeSchema.shape,
});
type Params = z.infer<typeof params>;

/** What is planned, in the shape of a run's changes. */
function plannedChanges({ steps }: StackPlan): Readonly<Record<string, Json>> {
  return Object.fromEntries(steps.map(({ what, from, to }) => [what, { old: from, new: to }]));
}

const settled = (name: string): Outcome => ({ result: true, changes: {}, comment: `volume ${name} is up` });

function predicted(name: string, plan: StackPlan): Outcome {
  const changes = plannedChanges(plan);
  if (plan.refusal !== undefined) throw plan.refusal;
  const fields = Object.keys(changes);
  if (fields.length === 0) return settled(name);
  return { result: null, changes, comment: `would bring up volume ${name}: ${fields.join(", ")}` };
}

/**
 * `volume.running`: an action, since it also has work to do when a layer cannot be brought up: what depends on the volume
 * is stopped then (I9). It looks again by itself; its second run changes nothing.
 */
export const volumeRunning = defineState<Params>({
  kind: "action",
  name: "volume.running",
  summary:
    "Brings up a whole volume, layer by layer, and then what depends on it; makes what is missing on blank devices.",
  params,
  predict: async (wanted, context) =>
    predicted(wanted.name, await planStack(context, volumeOf(context.pillar, wanted))),
  act: async (wanted, context) => {
    const volume = volumeOf(context.pillar, wanted);
    const changes = await bringUp(stackContext(context, volume), { mayFormat: true });
    const fields = Object.keys(changes);
    if (fields.length === 0) return settled(wanted.name);
    return { result: true, changes, comment: `volume ${wanted.name} is up: ${fields.join(", ")}` };
  },
});
