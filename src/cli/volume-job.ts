import type { Command } from "commander";
import type { JobRequest } from "../core/control-api.ts";
import { ConfigError } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { parseDuration } from "./arguments.ts";
import type { Context } from "./context.ts";
import { runJob } from "./jobs.ts";
import { parseOutput } from "./output.ts";
import { type SignOptions, signerOf, withSigner } from "./sign-options.ts";
import { parseVolumeTarget } from "./volume-target.ts";

/** What every command takes that pushes a job on volumes. */
export interface VolumeJobOptions extends SignOptions {
  readonly list?: true;
  readonly grain?: true;
  readonly out: string;
  readonly timeout: string;
}

/** Adds target and options of a command that pushes a job on volumes. */
export const withVolumeTarget = (command: Command): Command =>
  withSigner(
    command
      .argument("<target>", "minions, or minions/volume[,volume]: 'web*', web1/data")
      .option("-L, --list", "the minions are a list of ids: web1,web2")
      .option("-G, --grain", "the minions are a grain: os_family:Debian")
      .option("-t, --timeout <time>", "how long a host may stay silent: 30s, 2m", "60s")
      .option("--out <format>", "text, json (one document), jsonl (a line a host) or yaml", "text"),
  );

/** The job that runs a function on the volumes of a target. Throws ConfigError `bad-target`. */
export function volumeJob(target: string, fun: string, kwargs: JsonObject, options: VolumeJobOptions): JobRequest {
  const { minions, volumes } = parseVolumeTarget(target);
  if (options.list && options.grain) throw new ConfigError("bad-target", "cannot use both -L and -G: choose one");
  const kind = options.list ? "list" : options.grain ? "grain" : "glob";
  const timeoutMs = parseDuration(options.timeout);
  return { target: { kind, expr: minions }, fun, args: [...volumes], kwargs, timeoutMs };
}

/** Pushes it, signed where an operator is named, and prints what comes back. Returns the exit status. */
export async function pushVolumeJob(job: JobRequest, options: VolumeJobOptions, context: Context): Promise<number> {
  const format = parseOutput(options.out);
  const signer = signerOf(options);
  if (signer.as === undefined) return runJob(job, format, context);
  const { signJob } = await import("./signed-job.ts");
  return runJob(await signJob(job, signer, context), format, context);
}
