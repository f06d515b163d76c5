import { ConfigError } from "../../core/errors.ts";
import { didYouMean } from "../../sls/nearest.ts";
import { auditFunctions } from "./audit.ts";
import { cmdFunctions } from "./cmd.ts";
import { diskFunctions } from "./disk.ts";
import { fileFunctions } from "./file.ts";
import { type AnyFunction, defineFunction, ok } from "./function.ts";
import { grainsFunctions } from "./grains.ts";
import { hygieneFunctions } from "./hygiene.ts";
import { leakcheckFunctions } from "./leakcheck.ts";
import { luksFunctions } from "./luks.ts";
import { matchFunctions } from "./match.ts";
import { pillarFunctions } from "./pillar.ts";
import { serviceFunctions } from "./service.ts";
import { stateFunctions } from "./state.ts";
import { systemFunctions } from "./system.ts";
import { testFunctions } from "./test.ts";
import { volumeCheckFunctions } from "./volume-check.ts";
import { volumeHeaderFunctions } from "./volume-header.ts";
import { volumeStackFunctions } from "./volume-stack.ts";
import { volumeStatusFunctions } from "./volume-status.ts";
import { volumeReencryptFunctions } from "./volume-reencrypt.ts";
import { volumeRecoveryFunctions } from "./volume-recovery.ts";
import { volumeRotateFunctions } from "./volume-rotate.ts";
import { volumeProtectFunctions } from "./volume-protect.ts";
import { z } from "../../core/schema.ts";

const listFunctions = defineFunction({
  name: "sys.list_functions",
  summary: "The functions that can be run.",
  kind: "quick",
  positional: [],
  params: z.strictObject({}),
  run: async () => ok(functionNames()),
});

/** Everything that can be run by name, written out: a name that is not here does not exist. */
const FUNCTIONS: ReadonlyMap<string, AnyFunction> = new Map(
  [
    ...testFunctions,
    ...auditFunctions,
    ...grainsFunctions,
    ...pillarFunctions,
    ...stateFunctions,
    ...cmdFunctions,
    ...diskFunctions,
    ...hygieneFunctions,
    ...leakcheckFunctions,
    ...luksFunctions,
    ...serviceFunctions,
    ...systemFunctions,
    ...fileFunctions,
    ...matchFunctions,
    ...volumeCheckFunctions,
    ...volumeHeaderFunctions,
    ...volumeStackFunctions,
    ...volumeStatusFunctions,
    ...volumeRecoveryFunctions,
    ...volumeReencryptFunctions,
    ...volumeRotateFunctions,
    ...volumeProtectFunctions,
    listFunctions,
  ].map((definition) => [definition.name, definition]),
);

/** The function of that name. Throws ConfigError `unknown-function` with the nearest known name. */
export function findFunction(name: string): AnyFunction {
  const found = FUNCTIONS.get(name);
  if (found !== undefined) return found;
  throw new ConfigError(
    "unknown-function",
    `cannot run "${name}": unknown function${didYouMean(name, functionNames())}`,
    {
      hint: "sys.list_functions lists them",
    },
  );
}

/** The names of all functions, sorted. */
export function functionNames(): readonly string[] {
  return [...FUNCTIONS.keys()].sort((a, b) => (a < b ? -1 : 1));
}
