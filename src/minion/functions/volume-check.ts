import { errorMessage, LatchkeyError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import type { CheckResult } from "../volume/check.ts";
import { defineFunction, type FunctionContext, type FunctionResult } from "./function.ts";

const names = z
  .array(z.string())
  .default([])
  .describe("Volumes; all that are declared with `check` when none is named.");

function keyText({ key, report }: CheckResult): string {
  if (key === undefined) return report.keyPath === "" ? "it is not encrypted" : "there is no LUKS header that reads";
  switch (key.kind) {
    case "opens": {
      const how = key.how === "lease" ? `in ${key.ms} ms` : "as the master computed from the header in escrow";
      return `version ${key.version} of the stored key opens it, ${how}`;
    }
    case "older":
      return `only version ${key.version} of the stored key opens it, not the current one`;
    case "does-not-open":
      return "the stored key does not open it";
    case "unknown":
      return "the stored key was not tried";
    default:
      return key satisfies never;
  }
}

async function check(
  params: { readonly names: readonly string[] },
  { volumes }: FunctionContext,
): Promise<FunctionResult> {
  // loaded when first needed: most minions' days go by without a check
  const { checkVolume } = await import("../volume/check.ts");
  const selected = await volumes.select(params.names);
  const meant = params.names.length > 0 ? selected : selected.filter((volume) => volume.check);
  const data: Record<string, JsonObject> = {};
  let isSound = true;
  await volumes.exclusively(async () => {
    for (const volume of meant) {
      const row = await rowOf(async () => checkVolume(await volumes.context(volume)));
      isSound &&= row["result"] === true;
      data[volume.name] = row;
    }
  });
  return { data, retcode: isSound ? 0 : 1 };
}

async function rowOf(run: () => Promise<CheckResult>): Promise<JsonObject> {
  try {
    const result = await run();
    const { report, escrowed } = result;
    const problems = report.problems.map(({ code, text, fatal }): Json => ({ code, text, fatal }));
    const header = escrowed > 0 ? `its header is in escrow as version ${escrowed}` : "its header is not in escrow";
    const said = report.keyPath === "" ? [keyText(result)] : [keyText(result), header];
    return {
      result: report.problems.length === 0,
      comment: [...said, ...report.problems.map(({ text }) => text)].join("\n"),
      changes: {},
      ms: result.key !== undefined && "ms" in result.key ? result.key.ms : 0,
      how: result.key?.kind === "opens" ? result.key.how : "",
      escrowed,
      problems,
    };
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return { result: false, comment: errorMessage(error), changes: {}, problems: [] };
  }
}

/** `volume.check`: the stored key and the header against what the master keeps. */
export const volumeCheckFunctions = [
  defineFunction({
    name: "volume.check",
    summary: "Tests the stored key against the header, without touching the mapping, and tells what drifted.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: check,
  }),
];
