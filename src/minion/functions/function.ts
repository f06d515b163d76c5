import { ConfigError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { z } from "../../core/schema.ts";
import { didYouMean } from "../../sls/nearest.ts";
import type { ApplyContext } from "../../states/state.ts";
import type { MinionConfig } from "../config.ts";
import type { RunProgress } from "../progress-sender.ts";
import type { StateRunner } from "../state-runner.ts";
import type { VolumeRunner } from "../volume/runner.ts";

/** What an execution function may use. */
export interface FunctionContext {
  readonly id: string;
  readonly host: Host;
  /** Where this minion keeps what must last. */
  readonly stateDir: string;
  readonly grains: JsonObject;
  readonly signal: AbortSignal;
  /** This minion's compiled pillar, secrets as references; fetched anew once a job. */
  pillar(): Promise<JsonObject>;
  readonly states: StateRunner;
  readonly volumes: VolumeRunner;
  readonly minion: MinionSelf;
}

/** What a function may use that looks into the minion itself. */
export interface MinionSelf {
  readonly config: Pick<MinionConfig, "stateDir" | "cacheDir" | "runDir">;
  /** The lease of states, none other. */
  readonly lease: ApplyContext["lease"];
  readonly progress: (progress: RunProgress) => void;
  /** Writes a line to the minion's log. */
  readonly log: (line: string) => void;
}

/** What a function returned. `retcode` 0 means success, as an exit code. */
export interface FunctionResult {
  readonly data: Json;
  readonly retcode: number;
}

/** A function that a master (or `latchkey call`) may run by name. */
export interface ExecFunction<P> {
  readonly name: string;
  /** One sentence for the reference. */
  readonly summary: string;
  /** `states`: changes the machine by states, so one at a time; `quick`: runs at once. */
  readonly kind: "quick" | "states";
  /** Names of positional arguments, in order; with `rest` all further ones go to that parameter as a list. */
  readonly positional: readonly string[];
  readonly rest?: string;
  readonly params: z.ZodType<P>;
  readonly run: (params: P, context: FunctionContext) => Promise<FunctionResult>;
}

/** A function as the registry keeps it, its parameter type known to its own file alone. */
export type AnyFunction = ExecFunction<unknown>;

/** Registers a function, its parameter type forgotten. */
export function defineFunction<P>(definition: ExecFunction<P>): AnyFunction {
  return definition as unknown as AnyFunction;
}

/** A value that means success. */
export function ok(data: Json): FunctionResult {
  return { data, retcode: 0 };
}

/** The arguments of a call as the function's parameters. Throws ConfigError `bad-arguments` that says which and why. */
export function bindArguments(definition: AnyFunction, args: readonly Json[], kwargs: JsonObject): unknown {
  const { name, positional, rest } = definition;
  const bad = (why: string) => new ConfigError("bad-arguments", `cannot run "${name}": ${why}`);
  const values: Record<string, Json> = { ...kwargs };
  const put = (key: string, value: Json) => {
    if (Object.hasOwn(kwargs, key)) throw bad(`"${key}" is given twice`);
    values[key] = value;
  };
  for (const [index, key] of positional.entries()) {
    const value = args[index];
    if (value !== undefined) put(key, value);
  }
  const further = args.slice(positional.length);
  if (further.length > 0) {
    if (rest === undefined) throw bad(`it takes ${positional.length} positional arguments, got ${args.length}`);
    put(rest, further);
  }
  const parsed = definition.params.safeParse(values);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  if (issue?.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    throw bad(`unknown argument "${key}"${didYouMean(key, parameterNames(definition))}`);
  }
  const key = issue?.path.join(".") ?? "";
  if (issue?.path.length === 1 && values[key] === undefined) throw bad(`it needs the argument "${key}"`);
  throw bad(`"${key}": ${issue?.message ?? "not understood"}`);
}

function parameterNames({ params, positional, rest }: AnyFunction): readonly string[] {
  const shape = "shape" in params ? Object.keys(params.shape as object) : [];
  return [...new Set([...shape, ...positional, ...(rest === undefined ? [] : [rest])])];
}
