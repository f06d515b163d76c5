import { z } from "../../core/schema.ts";
import { defineState } from "../state.ts";
import { watchFired } from "./outcomes.ts";

const done = async () => ({ result: true, changes: {}, comment: "Success!" });

/** `test.nop`: does nothing and succeeds; takes any parameter, as Salt's does. */
export const testNop = defineState({
  name: "test.nop",
  summary: "Does nothing and succeeds.",
  kind: "action",
  params: z.looseObject({ name: z.string().describe("Any text.") }),
  predict: done,
  act: done,
  react: watchFired,
  predictReact: watchFired,
});
