import { defineState } from "../state.ts";
import { predictCommand, runCommand } from "./command.ts";
import { commandParams } from "./params.ts";

/** `cmd.run`: runs a command every time, guarded by unless, onlyif and creates. */
export const cmdRun = defineState({
  name: "cmd.run",
  summary: "Runs a shell command; guard it with unless, onlyif or creates.",
  kind: "action",
  params: commandParams,
  predict: predictCommand,
  act: runCommand,
  react: runCommand,
  predictReact: predictCommand,
});
