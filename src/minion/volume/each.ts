import type { Json, JsonObject } from "../../core/json.ts";
import type { VolumeSpec } from "../../states/volume/spec.ts";
import { errorText } from "../error-text.ts";
import type { FunctionContext, FunctionResult } from "../functions/function.ts";
import type { VolumeContext } from "./runner.ts";

/** What was done with one volume. */
export interface VolumeOutcome {
  readonly comment: string;
  readonly changes: Readonly<Record<string, Json>>;
}

/** How one command goes over volumes. */
export interface EachOptions {
  readonly names: readonly string[];
  readonly order: (volumes: readonly VolumeSpec[]) => readonly VolumeSpec[];
  readonly work: (context: VolumeContext) => Promise<VolumeOutcome>;
}

async function one(context: VolumeContext, work: EachOptions["work"]): Promise<JsonObject> {
  const { clock } = context.machine;
  const from = clock.monotonicMs();
  const row = (result: boolean, comment: string, changes: JsonObject): JsonObject => ({
    result,
    comment,
    changes,
    notes: [...context.notes()],
    ms: Math.round(clock.monotonicMs() - from),
  });
  try {
    const { comment, changes } = await work(context);
    return row(true, comment, changes);
  } catch (thrown) {
    return row(false, errorText(thrown), {});
  }
}

/**
 * Works on each declared (or named) volume in turn while nothing else changes this machine; a failure of one leaves the
 * others alone. The return is a row a volume: result, comment, changes, notes, ms.
 */
export async function eachVolume(
  { volumes }: Pick<FunctionContext, "volumes">,
  { names, order, work }: EachOptions,
): Promise<FunctionResult> {
  // the turn first: what comes later waits behind it, and the pillar is that of the moment
  return volumes.exclusively(async () => {
    const chosen = order(await volumes.select(names));
    const rows: Record<string, JsonObject> = {};
    for (const volume of chosen) rows[volume.name] = await one(await volumes.context(volume), work);
    await volumes.settle();
    const failed = Object.values(rows).some(({ result }) => result !== true);
    return { data: rows, retcode: failed ? 1 : 0 };
  });
}
