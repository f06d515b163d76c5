import type { Json } from "./json.ts";

/** The result of one state in Salt's own JSON shape; people built on it. */
export interface StateReturn {
  readonly __id__: string;
  readonly __sls__: string;
  readonly __run_num__: number;
  readonly __state_ran__: boolean;
  readonly name: string;
  /** null: would change (test mode). */
  readonly result: boolean | null;
  readonly changes: Readonly<Record<string, Json>>;
  readonly comment: string;
  /** Local time of day, `HH:MM:SS.ffffff`. */
  readonly start_time: string;
  /** Milliseconds. */
  readonly duration: number;
  /** Set when unless, onlyif or creates skipped the state. */
  readonly skip_watch?: boolean;
}
