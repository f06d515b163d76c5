import type { FunctionResult } from "./functions/function.ts";

/** What a state run is made of. */
export type StateSelection =
  | { readonly kind: "sls"; readonly names: readonly string[] }
  | { readonly kind: "highstate" }
  /** Another top file than `top.sls`. */
  | { readonly kind: "top"; readonly file: string };

/** Runs and shows states for one job. */
export interface StateRunner {
  run(what: StateSelection, options: { readonly test: boolean }): Promise<FunctionResult>;
  show(what: StateSelection): Promise<FunctionResult>;
  showTop(): Promise<FunctionResult>;
  /** One sentence on who runs states now; undefined when nobody does. */
  running(): Promise<string | undefined>;
}
