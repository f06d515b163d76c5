import { defineState } from "../state.ts";
import { predictCommand, runCommand } from "./command.ts";
import { commandParams } from "./params.ts";

const nothing = async () => ({ result: true, changes: {}, comment: "" });

/** `cmd.wait`: runs a command only when something that it watches or listens to has changed. */
export const cmdWait = defineState({
  name: "cmd.wait",
  summary: "Runs a shell command when a watched state has changed, and never otherwise.",
  kind: "action",
  params: commandParams,
  predict: nothing,
  act: nothing,
  react: runCommand,
  predictReact: predictCommand,
});
