import type { Json, JsonObject } from "../../core/json.ts";
import { outerFirst } from "../../core/volume-nesting.ts";
import { errorText } from "../../core/error-text.ts";
import type { FunctionContext, FunctionResult } from "../functions/function.ts";
import type { VolumeContext } from "./runner.ts";

/** What was done with one volume. */
export interface VolumeOutcome {
  readonly comment: string;
  readonly changes: Readonly<Record<string, Json>>;
}

/** One way over volumes. */
export interface Pass {
  /** `up`: one that lies inside of another after it; `down`: before it. */
  readonly order: "down" | "up";
  readonly work: (context: VolumeContext) => Promise<VolumeOutcome>;
}

/** How one command goes over volumes. */
export interface EachOptions {
  readonly names: readonly string[];
  /** One after the other, each over all volumes; one that failed is left out of the further ones. */
  readonly passes: readonly Pass[];
}

/** What became of one volume so far. */
interface Row {
  readonly result: boolean;
  readonly comment: string;
  readonly changes: JsonObject;
  readonly notes: readonly string[];
  readonly ms: number;
}

async function one(context: VolumeContext, work: Pass["work"], before: Row | undefined): Promise<Row> {
  const { clock } = context.machine;
  const from = clock.monotonicMs();
  const row = (result: boolean, comment: string, changes: JsonObject): Row => ({
    result,
    comment,
    changes: { ...before?.changes, ...changes },
    notes: [...(before?.notes ?? []), ...context.notes()],
    ms: (before?.ms ?? 0) + Math.round(clock.monotonicMs() - from),
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
  { names, passes }: EachOptions,
): Promise<FunctionResult> {
  // the turn first: what comes later waits behind it, and the pillar is that of the moment
  return volumes.exclusively(async () => {
    const up = outerFirst(await volumes.select(names));
    const rows = new Map<string, Row>();
    for (const { order, work } of passes) {
      for (const volume of order === "up" ? up : up.toReversed()) {
        const before = rows.get(volume.name);
        if (before?.result === false) continue;
        rows.set(volume.name, await one(await volumes.context(volume), work, before));
      }
    }
    await volumes.settle();
    const data = Object.fromEntries([...rows].map(([name, row]) => [name, { ...row, notes: [...row.notes] }]));
    return { data, retcode: [...rows.values()].some(({ result }) => !result) ? 1 : 0 };
  });
}
