import { z } from "../../core/schema.ts";
import { hygieneWarnings, readHygiene } from "../hygiene.ts";
import { defineFunction, ok } from "./function.ts";

/** `hygiene.*`: what protects keys in this minion's memory. */
export const hygieneFunctions = [
  defineFunction({
    name: "hygiene.status",
    summary: "What is in force against core dumps, tracing and swapping, as the kernel reports it, with warnings.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: async () => {
      const found = readHygiene();
      const swap = found.swap.map(({ path, kind, bytes }) => ({ path, kind, bytes }));
      return ok({ ...found, swap, warnings: [...hygieneWarnings(found)] });
    },
  }),
];
