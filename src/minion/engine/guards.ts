import { ConfigError } from "../../core/errors.ts";
import type { RunOptions } from "../../core/host.ts";
import type { Json } from "../../core/json.ts";
import type { Guard, LowChunk } from "../../sls/low.ts";
import type { EngineDeps } from "./deps.ts";

/** Deadline of one guard command. */
const GUARD_TIMEOUT_MS = 600_000;
const EVERY_CODE = Array.from({ length: 256 }, (_, code) => code);

function isTruthy(value: Json): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** Commands run where and as whom the state itself runs, as in Salt. */
function optionsOf({ params }: LowChunk, signal: AbortSignal): RunOptions {
  const { cwd, runas, allow_unsafe_path: allowUnsafePath } = params;
  return {
    okCodes: EVERY_CODE,
    timeoutMs: GUARD_TIMEOUT_MS,
    signal,
    ...(typeof cwd === "string" ? { cwd } : {}),
    ...(typeof allowUnsafePath === "boolean" ? { allowUnsafePath } : {}),
    ...(typeof runas === "string" ? { user: runas } : {}),
  };
}

async function holds(guard: Guard, chunk: LowChunk, deps: EngineDeps, signal: AbortSignal): Promise<boolean> {
  if (typeof guard === "string") {
    const { exitCode } = await deps.host.run(["/bin/sh", "-c", guard], optionsOf(chunk, signal));
    return exitCode === 0;
  }
  const call = deps.execution(guard.fun);
  if (!call) throw new ConfigError("unknown-function", `cannot decide: there is no function "${guard.fun}"`);
  return isTruthy(await call(guard.args, guard.kwargs, signal));
}

async function allHold(guards: readonly Guard[], chunk: LowChunk, deps: EngineDeps, signal: AbortSignal) {
  for (const guard of guards) if (!(await holds(guard, chunk, deps, signal))) return false;
  return true;
}

/**
 * Why the state need not run, undefined when it must: `unless` skips when all hold, `onlyif` when one does not, `creates`
 * when all paths exist. Throws when a guard cannot be asked.
 */
export async function reasonToSkip(
  chunk: LowChunk,
  deps: EngineDeps,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (!(await allHold(chunk.onlyif, chunk, deps, signal))) return "onlyif condition is false";
  if (chunk.unless.length > 0 && (await allHold(chunk.unless, chunk, deps, signal))) return "unless condition is true";
  if (chunk.creates.length === 0) return undefined;
  for (const path of chunk.creates) if ((await deps.host.stat(path)) === undefined) return undefined;
  return chunk.creates.length === 1 ? `${chunk.creates[0]} exists` : "all files in creates exist";
}

/** Whether every check_cmd holds; undefined when there is none. */
export async function checkCommands(
  chunk: LowChunk,
  deps: EngineDeps,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  return chunk.checkCmd.length === 0 ? undefined : allHold(chunk.checkCmd, chunk, deps, signal);
}
