import { z } from "../../core/schema.ts";
import { defineFunction, ok } from "./function.ts";
import { lookUp } from "./look-up.ts";

/** `pillar.*`: this minion's pillar, secrets as references. */
export const pillarFunctions = [
  defineFunction({
    name: "pillar.items",
    summary: "This minion's pillar, secrets as references.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: async (_params, context) => ok(await context.pillar()),
  }),
  defineFunction({
    name: "pillar.get",
    summary: "One value by its path, with colons between the parts.",
    kind: "quick",
    positional: ["key", "default"],
    params: z.strictObject({
      key: z.string().min(1).describe("Path such as `a:b`."),
      default: z.json().default("").describe("What to return when there is no such value."),
    }),
    run: async (params, context) => ok(lookUp(await context.pillar(), params.key) ?? params.default),
  }),
];
