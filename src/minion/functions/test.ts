import { z } from "../../core/schema.ts";
import { systemClock } from "../../core/clock.ts";
import { VERSION } from "../../core/version.ts";
import { defineFunction, ok } from "./function.ts";

const nothing = z.strictObject({});

/** `test.*`: whether a minion is there, and what to try things out with. */
export const testFunctions = [
  defineFunction({
    name: "test.ping",
    summary: "True: the minion is there.",
    kind: "quick",
    positional: [],
    params: nothing,
    run: async () => ok(true),
  }),
  defineFunction({
    name: "test.version",
    summary: "The minion's version.",
    kind: "quick",
    positional: [],
    params: nothing,
    run: async () => ok(VERSION),
  }),
  defineFunction({
    name: "test.true",
    summary: "Always true.",
    kind: "quick",
    positional: [],
    params: nothing,
    run: async () => ok(true),
  }),
  defineFunction({
    name: "test.false",
    summary: "Always false.",
    kind: "quick",
    positional: [],
    params: nothing,
    run: async () => ok(false),
  }),
  defineFunction({
    name: "test.echo",
    summary: "Returns its argument.",
    kind: "quick",
    positional: ["text"],
    params: z.strictObject({ text: z.json().describe("What to return.") }),
    run: async ({ text }) => ok(text),
  }),
  defineFunction({
    name: "test.sleep",
    summary: "True after that many seconds.",
    kind: "quick",
    positional: ["length"],
    params: z.strictObject({ length: z.number().min(0).max(86_400).describe("Seconds to wait.") }),
    run: async ({ length }, { signal }) => {
      await systemClock.sleep(length * 1000, signal);
      return ok(true);
    },
  }),
];
