import { LatchkeyError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { ExecutionFunction } from "./engine/deps.ts";
import { errorText } from "../core/error-text.ts";
import { bindArguments, type AnyFunction, type FunctionContext, type FunctionResult } from "./functions/function.ts";
import { findFunction, functionNames } from "./functions/registry.ts";

/** A call by name. */
export interface FunctionCall {
  readonly fun: string;
  readonly args: readonly Json[];
  readonly kwargs: JsonObject;
}

/**
 * Runs a function of the allow-list; never throws: what goes wrong is the return. State functions return a list of
 * errors as Salt's do, others the text.
 */
export async function execute(call: FunctionCall, context: FunctionContext): Promise<FunctionResult> {
  try {
    const definition = findFunction(call.fun);
    return await runFunction(definition, call, context);
  } catch (thrown) {
    const text = errorText(thrown);
    return {
      data: call.fun.startsWith("state.") ? [text] : text,
      retcode: thrown instanceof LatchkeyError ? thrown.exitStatus : 1,
    };
  }
}

async function runFunction(definition: AnyFunction, call: FunctionCall, context: FunctionContext) {
  return definition.run(bindArguments(definition, call.args, call.kwargs), context);
}

/**
 * A function as guards of states call it: what it returns, and an error when the call itself is wrong, since the text of
 * an error would count as true. Undefined when there is no such function, and for state runs, which would wait for
 * themselves.
 */
export function guardFunction(fun: string, context: FunctionContext): ExecutionFunction | undefined {
  if (!functionNames().includes(fun)) return undefined;
  const definition = findFunction(fun);
  if (definition.kind === "states") return undefined;
  return async (args, kwargs, signal) =>
    (await runFunction(definition, { fun, args, kwargs }, { ...context, signal })).data;
}
