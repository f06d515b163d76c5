import { z } from "../../core/schema.ts";
import { formatDuration } from "../../core/units.ts";
import { secretRef } from "../devices/storage-params.ts";
import { type CheckContext, defineState, type LeaseRecord, type Outcome } from "../state.ts";

const params = z.strictObject({
  name: z.string().min(1).describe("The secret: secret:<pillar path>; any other text stands for every key of the run"),
  keys: z.array(secretRef).min(1).optional().describe("Several secrets, in place of name"),
});
type Params = z.infer<typeof params>;

const timeOf = (ms: number): string => new Date(ms).toISOString().slice(11, 23);

/** One lease in one line: `key: leased 10:00:00.120 used 10:00:00.121 wiped 10:00:00.540 (420 ms), to open`. */
export function describeLease({ ref, purpose, leasedAt, usedAt, wipedAt }: LeaseRecord): string {
  const used = usedAt > 0 ? `used ${timeOf(usedAt)}` : "not used";
  const wiped = wipedAt > 0 ? `wiped ${timeOf(wipedAt)} (${formatDuration(wipedAt - leasedAt)})` : "NOT WIPED";
  return `key: leased ${timeOf(leasedAt)} ${used} ${wiped}, ${ref} to ${purpose}`;
}

function report({ name, keys }: Params, context: CheckContext): Outcome {
  const wanted = keys ?? (name.startsWith("secret:") ? [name] : undefined);
  const leases = context.leases().filter(({ ref }) => wanted === undefined || wanted.includes(ref));
  const result = leases.every(({ wipedAt }) => wipedAt > 0);
  const comment = leases.length === 0 ? "no key was leased in this run" : leases.map(describeLease).join("\n");
  return { result, changes: {}, comment };
}

/** `luks.key_wiped`: the wipe itself is part of every lease; this says that it was done, and fails when it was not. */
export const luksKeyWiped = defineState({
  kind: "action",
  name: "luks.key_wiped",
  summary: "Fails unless every key leased in this run was wiped, and reports when.",
  params,
  predict: (wanted, context) => Promise.resolve(report(wanted, context)),
  act: (wanted, context) => Promise.resolve(report(wanted, context)),
});
