import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { Draft } from "./draft.ts";
import type { Argument } from "./high.ts";
import { isKeyword } from "./keywords.ts";
import type { Guard, LowChunk, Retry } from "./low.ts";

/** The parts of a chunk that come from the language's own keywords. */
export type Globals = Pick<LowChunk, "checkCmd" | "creates" | "failhard" | "onlyif" | "params" | "retry" | "unless">;

/** Told about each mistake: the argument and what is wrong with it. */
export type Complain = (argument: Argument, why: string) => void;

function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [value];
}

function readGuard(item: Json): Guard | undefined {
  if (typeof item === "string") return item;
  if (!isJsonObject(item) || typeof item["fun"] !== "string") return undefined;
  const { fun, args = [], get_return: _unused, ...kwargs } = item;
  return { fun, args: listOf(args), kwargs };
}

/** Booleans are no commands: like Salt, the guard then does not count. */
function readGuards(argument: Argument | undefined, complain: Complain): readonly Guard[] {
  if (!argument) return [];
  return listOf(argument.value).flatMap((item) => {
    if (item === null || typeof item === "boolean") return [];
    const guard = readGuard(item);
    if (guard !== undefined) return [guard];
    complain(argument, `"${argument.key}" needs commands, or maps with "fun"`);
    return [];
  });
}

function readPaths(argument: Argument | undefined, complain: Complain): readonly string[] {
  if (!argument) return [];
  const paths = listOf(argument.value);
  if (paths.every((path): path is string => typeof path === "string")) return paths;
  complain(argument, `"${argument.key}" needs a path or a list of paths`);
  return [];
}

const RETRY_DEFAULTS = { attempts: 2, interval: 30, splay: 0 };

/** Salt writes `retry: true` or a map (or a list of maps) of attempts, interval, splay (seconds) and until. */
function readRetry(argument: Argument | undefined, complain: Complain): Retry | undefined {
  if (!argument || argument.value === false || argument.value === null) return undefined;
  const maps = argument.value === true ? [{}] : listOf(argument.value);
  if (!maps.every(isJsonObject)) {
    complain(argument, '"retry" needs true, or a map of attempts, interval, until and splay');
    return undefined;
  }
  const written: JsonObject = Object.assign({}, ...maps) as JsonObject;
  const unknown = Object.keys(written).find((key) => !["attempts", "interval", "until", "splay"].includes(key));
  const number = (key: keyof typeof RETRY_DEFAULTS, least: number) => {
    const value = written[key] ?? RETRY_DEFAULTS[key];
    if (typeof value === "number" && Number.isFinite(value) && value >= least) return value;
    complain(argument, `"retry": "${key}" needs a number from ${least}`);
    return least;
  };
  if (unknown !== undefined) complain(argument, `"retry" has no "${unknown}"`);
  const until = written["until"] ?? true;
  if (typeof until !== "boolean") complain(argument, '"retry": "until" needs true or false');
  return {
    attempts: Math.min(number("attempts", 1), 1000),
    intervalMs: number("interval", 0) * 1000,
    until: until === true,
    splayMs: number("splay", 0) * 1000,
  };
}

/**
 * Takes a draft's arguments apart: what the language itself means by them, and what is left for the state's schema. A keyword
 * that is among the state's own parameters (`own`) is the state's, as Salt has it with `check_cmd` of `file.managed`.
 */
export function readGlobals({ args: all, name }: Draft, own: readonly string[], complain: Complain): Globals {
  const params: Record<string, Json> = { name };
  const args = new Map<string, Argument>();
  for (const [key, argument] of all) {
    if (isKeyword(key) && !own.includes(key)) args.set(key, argument);
    else params[key] = argument.value;
  }
  return {
    params,
    unless: readGuards(args.get("unless"), complain),
    onlyif: readGuards(args.get("onlyif"), complain),
    checkCmd: readGuards(args.get("check_cmd"), complain),
    creates: readPaths(args.get("creates"), complain),
    retry: readRetry(args.get("retry"), complain),
    failhard: args.get("failhard")?.value === true,
  };
}
