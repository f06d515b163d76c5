import { z } from "../../core/schema.ts";
import { defineState } from "../state.ts";
import { PRETENDED, watchFired } from "./outcomes.ts";

/** `test.configurable_test_state`: result, changes and comment as told. */
export const testConfigurable = defineState({
  name: "test.configurable_test_state",
  summary: "Ends with the result, changes and comment that it is given.",
  kind: "action",
  params: z.strictObject({
    name: z.string().describe("Any text."),
    changes: z.boolean().default(true).describe("Whether to pretend that something changed."),
    result: z.boolean().default(true).describe("The result of a real run."),
    comment: z.string().default("").describe("The comment."),
  }),
  predict: async ({ changes, comment }) => ({
    result: changes ? null : true,
    changes: changes ? PRETENDED : {},
    comment,
  }),
  act: async ({ changes, result, comment }) => ({ result, changes: changes ? PRETENDED : {}, comment }),
  react: watchFired,
  predictReact: watchFired,
});
