import type { StateReturn } from "../../core/state-return.ts";
import { startTime } from "./run.ts";

/** What was asked for where no state came of it. */
export interface Nothing {
  /** The minion that it was for. */
  readonly id: string;
  /** The top file that was asked; undefined when SLS files were named. */
  readonly top: string | undefined;
  /** The SLS files that were read, [] when the top file gives none. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly at: number;
}

function reason({ id, top, names }: Nothing): string {
  if (names.length === 0) return `no target of ${top ?? "the command"} that gives an SLS matches "${id}"`;
  const files = names.map((name) => `"${name}"`).join(", ");
  return `no state is declared in ${files}${top === undefined ? "" : `, which ${top} gives "${id}"`}`;
}

/**
 * The return of a run without any state: one failed row, as Salt has it. A minion that is told nothing is a mistake in a
 * top file far more often than a wish, and at boot it must not count as "all volumes are mounted" (I9).
 */
export function noStates(nothing: Nothing): Readonly<Record<string, StateReturn>> {
  return {
    "no_|-states_|-states_|-None": {
      __id__: "states",
      __sls__: "",
      __run_num__: 0,
      __state_ran__: false,
      name: "No States",
      result: false,
      changes: {},
      comment: `No states found for this minion: ${reason(nothing)}`,
      start_time: startTime(nothing.at),
      duration: 0,
    },
  };
}
