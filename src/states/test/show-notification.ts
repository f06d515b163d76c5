import { z } from "../../core/schema.ts";
import { defineState } from "../state.ts";
import { watchFired } from "./outcomes.ts";

const show = async ({ text }: { readonly text: string }) => ({ result: true, changes: {}, comment: text });

/** `test.show_notification`: its text becomes the comment. */
export const testShowNotification = defineState({
  name: "test.show_notification",
  summary: "Succeeds with a text as its comment.",
  kind: "action",
  params: z.strictObject({
    name: z.string().describe("Any text."),
    text: z.string().describe("What to show."),
  }),
  predict: show,
  act: show,
  react: watchFired,
  predictReact: watchFired,
});
