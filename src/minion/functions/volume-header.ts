import type { JsonObject } from "../../core/json.ts";
import { ConfigError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import type { Restored } from "../volume/restore.ts";
import { defineFunction, type FunctionContext, type FunctionResult } from "./function.ts";

const params = z.strictObject({
  names: z.array(z.string()).default([]).describe("The volume."),
  version: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Version of the header; the newest that a stored key opens when not given."),
  dry_run: z.boolean().default(false).describe("Only tell what would be done."),
});
type Params = z.infer<typeof params>;

function textOf({ header, device, differences, refusals, isDone, before, key }: Restored, isDryRun: boolean): string {
  const of = new Date(header.at).toISOString().slice(0, 19).replace("T", " ");
  const what = `header ${header.version} of ${of} (${header.reason}), ${header.luksUuid}, on ${device}`;
  const lines = [what, ...(differences.length === 0 ? ["no keyslot differs"] : differences)];
  if (refusals.length > 0) lines.push(...refusals.map((why) => `refused: ${why}`));
  else if (isDone) lines.push("the device has this very header");
  else if (isDryRun) lines.push("would be restored");
  else {
    lines.push(before > 0 ? `restored; the header before is in escrow as version ${before}` : "restored");
    if (key?.kind === "opens") lines.push(`version ${key.version} of the stored key opens it`);
    else lines.push("it was NOT proven that the stored key opens it: see `latchkey volume check`");
  }
  return lines.join("\n");
}

async function restore(wanted: Params, { volumes }: FunctionContext): Promise<FunctionResult> {
  const { restoreHeader } = await import("../volume/restore.ts");
  const { names, version, dry_run: isDryRun } = wanted;
  const [volume] = names.length === 1 ? await volumes.select(names) : [];
  if (volume === undefined) {
    throw new ConfigError("bad-arguments", "cannot restore a header: name one volume", { hint: "such as web1/data" });
  }
  const run = async () => restoreHeader(await volumes.context(volume), { version, isDryRun });
  const restored = isDryRun ? await run() : await volumes.exclusively(run);
  const { header, differences, refusals, isDone, key } = restored;
  const isWell = refusals.length === 0 && (isDryRun || isDone || key?.kind === "opens");
  const row: JsonObject = {
    result: isWell,
    comment: textOf(restored, isDryRun),
    changes: isDryRun || isDone ? {} : { header: header.version },
    differences,
    refusals,
  };
  return { data: { [volume.name]: row }, retcode: isWell ? 0 : 1 };
}

/** `volume.header_restore`: a header out of escrow back onto its device. */
export const volumeHeaderFunctions = [
  defineFunction<Params>({
    name: "volume.header_restore",
    summary: "Puts a LUKS header out of the master's escrow back, after proving that it belongs there.",
    kind: "states",
    positional: [],
    rest: "names",
    params,
    run: restore,
  }),
];
