import { z } from "../../core/schema.ts";
import { defineState } from "../state.ts";
import { PRETENDED, watchFired } from "./outcomes.ts";

const params = z.strictObject({ name: z.string().describe("Any text.") });
const watch = { react: watchFired, predictReact: watchFired };

/** `test.succeed_with_changes` */
export const testSucceedWithChanges = defineState({
  ...watch,
  name: "test.succeed_with_changes",
  summary: "Succeeds and pretends to have changed something.",
  kind: "action",
  params,
  predict: async () => ({
    result: null,
    changes: PRETENDED,
    comment: "If we weren't testing, this would be successful with changes",
  }),
  act: async () => ({ result: true, changes: PRETENDED, comment: "Success!" }),
});

const unchanged = async () => ({ result: true, changes: {}, comment: "Success!" });

/** `test.succeed_without_changes` */
export const testSucceedWithoutChanges = defineState({
  ...watch,
  name: "test.succeed_without_changes",
  summary: "Succeeds and changes nothing.",
  kind: "action",
  params,
  predict: unchanged,
  act: unchanged,
});

/** `test.fail_with_changes` */
export const testFailWithChanges = defineState({
  ...watch,
  name: "test.fail_with_changes",
  summary: "Fails and pretends to have changed something.",
  kind: "action",
  params,
  predict: async () => ({
    result: null,
    changes: PRETENDED,
    comment: "If we weren't testing, this would be failed with changes",
  }),
  act: async () => ({ result: false, changes: PRETENDED, comment: "Failure!" }),
});

/** `test.fail_without_changes`: says so in test mode too. */
export const testFailWithoutChanges = defineState({
  ...watch,
  name: "test.fail_without_changes",
  summary: "Fails and changes nothing.",
  kind: "action",
  params,
  predict: async () => ({
    result: false,
    changes: {},
    comment: "If we weren't testing, this would be a failure!",
  }),
  act: async () => ({ result: false, changes: {}, comment: "Failure!" }),
});
