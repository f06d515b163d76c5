import type { Command } from "commander";
import type { JobRequest } from "../core/control-api.ts";
import { ConfigError } from "../core/errors.ts";
import { SLS_NAME } from "../core/ids.ts";
import { type FunctionArguments, parseArguments, parseDuration } from "./arguments.ts";
import { HELP } from "./help.ts";
import { runJob } from "./jobs.ts";
import { parseOutput } from "./output.ts";
import type { Setup } from "./program.ts";
import { type SignOptions, signerOf, withSigner } from "./sign-options.ts";

interface JobOptions extends SignOptions {
  readonly list?: true;
  readonly grain?: true;
  readonly test?: true;
  readonly out: string;
  readonly timeout: string;
}

function jobCommand(program: Command, name: string, description: string): Command {
  const command = program
    .command(name)
    .description(description)
    .argument("<target>", "which minions: a glob, or see -L and -G")
    .option("-L, --list", "the target is a list of ids: web1,web2")
    .option("-G, --grain", "the target is a grain: os_family:Debian")
    .option("-t, --timeout <time>", "how long a host may stay silent: 30s, 2m", "30s")
    .option("--out <format>", "text, json (one document), jsonl (a line a host) or yaml", "text");
  return withSigner(command);
}

function requestOf(target: string, fun: string, given: FunctionArguments, options: JobOptions): JobRequest {
  if (options.list && options.grain) throw new ConfigError("bad-target", "cannot use both -L and -G: choose one");
  if (target === "") throw new ConfigError("bad-target", "cannot use an empty target", { hint: "'*' is every minion" });
  const kind = options.list ? "list" : options.grain ? "grain" : "glob";
  return {
    target: { kind, expr: target },
    fun,
    args: given.args,
    kwargs: options.test ? { ...given.kwargs, test: true } : given.kwargs,
    timeoutMs: parseDuration(options.timeout),
  };
}

/** Adds what pushes jobs to minions: highstate, apply, run. */
export function addJobCommands(program: Command, { context, end }: Setup): void {
  const push = async (target: string, fun: string, given: FunctionArguments, options: JobOptions) => {
    const format = parseOutput(options.out);
    const request = requestOf(target, fun, given, options);
    const signer = signerOf(options);
    if (signer.as === undefined) return end(await runJob(request, format, context()));
    const { signJob } = await import("./signed-job.ts");
    end(await runJob(await signJob(request, signer, context()), format, context()));
  };
  jobCommand(program, "highstate", "bring hosts to the state that the top file says")
    .option("--test", "show what would change, change nothing")
    .addHelpText("after", HELP.target + HELP.highstate)
    .action(async (target: string, options: JobOptions) => {
      await push(target, "state.highstate", { args: [], kwargs: {} }, options);
    });
  jobCommand(program, "apply", "apply state files to hosts")
    .argument("<sls...>", "state files, such as luks or web.nginx")
    .option("--test", "show what would change, change nothing")
    .addHelpText("after", HELP.target + HELP.apply)
    .action(async (target: string, words: readonly string[], options: JobOptions) => {
      // `luks,motd` is how state.apply takes several, here and on the minion
      const names = words.flatMap((word) => word.split(","));
      const bad = names.find((name) => !SLS_NAME.test(name));
      if (bad !== undefined) {
        throw new ConfigError("bad-sls-name", `cannot apply "${bad}": not the name of a state file`, {
          hint: "names are dotted words: web.nginx stands for web/nginx.sls",
        });
      }
      await push(target, "state.apply", { args: names, kwargs: {} }, options);
    });
  jobCommand(program, "run", "run a function on hosts")
    .argument("<function>", "such as test.ping, cmd.run or grains.items")
    .argument("[args...]", "arguments, and key=value")
    .option("--test", "pass test=true")
    .addHelpText("after", HELP.target + HELP.run)
    .action(async (target: string, fun: string, words: readonly string[], options: JobOptions) => {
      await push(target, fun, parseArguments(words), options);
    });
}
