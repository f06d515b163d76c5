import { z } from "../../core/schema.ts";
import { SLS_NAME } from "../../core/ids.ts";
import { defineFunction, type FunctionContext, type FunctionResult, ok } from "./function.ts";

const names = z
  .array(z.string())
  .transform((list) => list.flatMap((entry) => entry.split(",")).map((entry) => entry.trim()))
  .pipe(z.array(z.string().regex(SLS_NAME, "must be the name of an SLS file, such as luks.data")));
const mods = z.union([z.string().transform((text) => [text]), z.array(z.string())]).pipe(names);
const test = z.boolean().default(false).describe("Show what would change, change nothing.");

interface ApplyParams {
  readonly mods: readonly string[];
  readonly test: boolean;
}

async function apply(params: ApplyParams, { states }: FunctionContext): Promise<FunctionResult> {
  const what =
    params.mods.length === 0 ? ({ kind: "highstate" } as const) : ({ kind: "sls", names: params.mods } as const);
  return states.run(what, params);
}

/** `state.*`: state runs. */
export const stateFunctions = [
  defineFunction<ApplyParams>({
    name: "state.apply",
    summary: "Applies SLS files, or the highstate when none are named.",
    kind: "states",
    positional: [],
    rest: "mods",
    params: z.strictObject({ mods: mods.default([]).describe("SLS names."), test }),
    run: apply,
  }),
  defineFunction<ApplyParams>({
    name: "state.sls",
    summary: "Applies SLS files.",
    kind: "states",
    positional: [],
    rest: "mods",
    params: z.strictObject({ mods: mods.pipe(z.array(z.string()).min(1)).describe("SLS names."), test }),
    run: apply,
  }),
  defineFunction({
    name: "state.highstate",
    summary: "Applies what the top file gives this minion.",
    kind: "states",
    positional: [],
    params: z.strictObject({ test }),
    run: (params, { states }) => states.run({ kind: "highstate" }, params),
  }),
  defineFunction({
    name: "state.top",
    summary: "Applies what another top file of the file roots gives this minion.",
    kind: "states",
    positional: ["topfn"],
    params: z.strictObject({ topfn: z.string().min(1).describe("Top file, such as boot/top.sls."), test }),
    run: (params, { states }) => states.run({ kind: "top", file: params.topfn }, params),
  }),
  defineFunction({
    name: "state.show_sls",
    summary: "The ordered states of SLS files, as they would be run.",
    kind: "quick",
    positional: [],
    rest: "mods",
    params: z.strictObject({ mods: mods.describe("SLS names.") }),
    run: (params, { states }) => states.show({ kind: "sls", names: params.mods }),
  }),
  defineFunction({
    name: "state.show_highstate",
    summary: "The ordered states of this minion's highstate.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: (_params, { states }) => states.show({ kind: "highstate" }),
  }),
  defineFunction({
    name: "state.show_top",
    summary: "The SLS files that the top file gives this minion.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: (_params, { states }) => states.showTop(),
  }),
  defineFunction({
    name: "state.running",
    summary: "Who runs states on this minion, since when; an empty list when nobody does.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: async (_params, { states }) => {
      const holder = await states.running();
      return ok(holder === undefined ? [] : [holder]);
    },
  }),
];
