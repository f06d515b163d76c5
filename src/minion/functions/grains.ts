import { z } from "../../core/schema.ts";
import { defineFunction, ok } from "./function.ts";
import { lookUp } from "./look-up.ts";

/** `grains.*`: what is known about this machine. */
export const grainsFunctions = [
  defineFunction({
    name: "grains.items",
    summary: "What is known about this machine.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: async (_params, context) => ok(context.grains),
  }),
  defineFunction({
    name: "grains.get",
    summary: "One value by its path, with colons between the parts.",
    kind: "quick",
    positional: ["key", "default"],
    params: z.strictObject({
      key: z.string().min(1).describe("Path such as `a:b`."),
      default: z.json().default("").describe("What to return when there is no such value."),
    }),
    run: async (params, context) => ok(lookUp(context.grains, params.key) ?? params.default),
  }),
];
