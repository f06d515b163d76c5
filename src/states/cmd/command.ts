import { HostError } from "../../core/errors.ts";
import type { RunOptions, RunResult } from "../../core/host.ts";
import type { CheckContext, Outcome } from "../state.ts";
import type { CommandParams } from "./params.ts";
import { readStateful } from "./stateful.ts";

const EVERY_CODE = Array.from({ length: 256 }, (_, code) => code);
const MIB = 1024 * 1024;
const OUTPUT_CUT = "\n[output over 1 MiB dropped]";
/** Deadline where the SLS gives none: the engine's own deadline for a state is what ends a run then. */
const LONGEST_MS = 24 * 3600 * 1000;

function environmentOf({ env }: CommandParams): Record<string, string> {
  const maps = Array.isArray(env) ? env : [env];
  return Object.fromEntries(maps.flatMap((map) => Object.entries(map).map(([key, value]) => [key, String(value)])));
}

function optionsOf(params: CommandParams, signal: AbortSignal): RunOptions {
  return {
    okCodes: EVERY_CODE,
    timeoutMs: params.timeout === undefined ? LONGEST_MS : params.timeout * 1000,
    env: environmentOf(params),
    signal,
    allowUnsafePath: params.allow_unsafe_path,
    ...(params.cwd === undefined ? {} : { cwd: params.cwd }),
    ...(params.runas === undefined ? {} : { user: params.runas }),
  };
}

/** Output as the return shows it, with a mark where some of it was dropped. */
function shownOutput({ stdout, stderr, truncated, stdoutTail }: RunResult): { stdout: string; stderr: string } {
  const shown = (text: string, cut: boolean) => `${text.trimEnd()}${cut ? OUTPUT_CUT : ""}`;
  const isCut = stdoutTail !== undefined;
  return { stdout: shown(stdout, isCut), stderr: shown(stderr, truncated && (!isCut || stderr.length >= MIB)) };
}

function outcomeOf(params: CommandParams, result: RunResult): Outcome {
  const { exitCode, stdout, stdoutTail, pid } = result;
  const codes = Array.isArray(params.success_retcodes) ? params.success_retcodes : [params.success_retcodes];
  const output = params.hide_output ? {} : shownOutput(result);
  const changes = { pid, retcode: exitCode, ...output };
  const succeeded = exitCode === 0 || codes.includes(exitCode);
  const stated = params.stateful === false ? undefined : readStateful(stdoutTail ?? stdout);
  const plain = `Command "${params.name}" run`;
  if (!stated) return { result: succeeded, changes, comment: plain };
  return {
    result: succeeded,
    changes: stated.changed ? { ...changes, ...stated.data } : {},
    comment: stated.comment === "" ? plain : stated.comment,
  };
}

/** Runs the command. A bad exit code or the command's own timeout is a failed outcome; the rest is thrown. */
export async function runCommand(params: CommandParams, { host, signal }: CheckContext): Promise<Outcome> {
  try {
    return outcomeOf(params, await host.run([params.shell, "-c", params.name], optionsOf(params, signal)));
  } catch (thrown) {
    if (!(thrown instanceof HostError) || thrown.code !== "command-timeout") throw thrown;
    const stderr = `timed out after ${params.timeout} s`;
    return {
      result: false,
      changes: { retcode: 1, stdout: "", stderr },
      comment: `Command "${params.name}" run`,
    };
  }
}

/** What a run would do: runs nothing, unless a stateful command names one that may run in test mode. */
export async function predictCommand(params: CommandParams, context: CheckContext): Promise<Outcome> {
  const name = Array.isArray(params.stateful) ? params.stateful[0]?.test_name : undefined;
  if (name !== undefined) {
    const outcome = await runCommand({ ...params, name }, context);
    const changed = Object.keys(outcome.changes).length > 0;
    return { ...outcome, result: outcome.result === true && changed ? null : outcome.result };
  }
  return {
    result: null,
    // a stateful command may well change nothing
    changes: params.stateful === false ? { cmd: params.name } : {},
    comment: `Command "${params.name}" would have been executed`,
  };
}
