import { ConfigError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { defineState, type Outcome } from "../state.ts";
import { destroy, isBeingDestroyed } from "./destroy.ts";
import { isProvisioned } from "./provisioned.ts";
import { volumeOf, volumeSchema } from "./spec.ts";
import { stackContext } from "./stack-context.ts";

const params = z.strictObject({
  name: z.string().describe("The volume: one that the pillar declares, or a name for the stack given here"),
  confirm: z.string().optional().describe("The volume's name once more: without it nothing is erased"),
  kill_holders: z.boolean().default(false).describe("End processes that hold the mount: TERM, then KILL"),
  force: z.boolean().default(false).describe("Go on although no stored key is proven to open it"),
  ...volumeSchema.shape,
});
type Params = z.infer<typeof params>;

const settled = (name: string): Outcome => ({ result: true, changes: {}, comment: `there is no volume ${name}` });

function assertConfirmed({ name, confirm }: Params): void {
  if (confirm === name) return;
  throw new ConfigError(
    "not-confirmed",
    `cannot remove volume "${name}": it is there, and nobody said that it may go`,
    {
      hint: `its keyslots would be erased; write confirm: ${name} to have that done`,
    },
  );
}

/** `volume.absent`: erases nothing unless the volume's name is said a second time. */
export const volumeAbsent = defineState<Params>({
  kind: "action",
  name: "volume.absent",
  summary: "Removes a volume for good: stopped, keyslots erased, logical volume or loop file removed.",
  params,
  predict: async (wanted, context) => {
    const volume = volumeOf(context.pillar, wanted);
    if (!(await isProvisioned({ ...context, volume }))) return settled(wanted.name);
    assertConfirmed(wanted);
    const changes = { [wanted.name]: { old: "provisioned", new: "erased and removed" } };
    return { result: null, changes, comment: `would erase and remove volume ${wanted.name}` };
  },
  act: async (wanted, context) => {
    const at = stackContext(context, volumeOf(context.pillar, wanted));
    if (!(await isProvisioned(at)) && !(await isBeingDestroyed(at))) return settled(wanted.name);
    assertConfirmed(wanted);
    const { kill_holders: killHolders, force } = wanted;
    const changes = await destroy(at, { killHolders, force });
    return { result: true, changes, comment: `volume ${wanted.name} is erased and removed` };
  },
});
