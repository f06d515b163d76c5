import { type Command, Option } from "commander";
import { ConfigError } from "../core/errors.ts";
import { parseArguments } from "./arguments.ts";
import { paintWith } from "./format/paint.ts";
import { HELP } from "./help.ts";
import { documentText, parseOutput, returnText } from "./output.ts";
import { newPassphraseFrom, passphraseFrom } from "./master-passphrase.ts";
import type { Setup } from "./program.ts";
import { startRunLine } from "./progress.ts";
import type { CallRequest } from "./rooms.ts";

const collect = (value: string, before: readonly string[] = []) => [...before, value];

interface CallOptions {
  readonly config?: string;
  readonly local?: true;
  readonly fileRoot?: readonly string[];
  readonly pillarRoot?: readonly string[];
  readonly id?: string;
  readonly test?: true;
  readonly out: string;
}

interface MasterOptions {
  readonly config?: string;
  readonly passphraseFd?: string;
}

interface StartOptions extends MasterOptions {
  readonly socketAccess?: "owner" | "group";
}

const MASTER_CONFIG = "configuration file (default /etc/latchkey/master.yaml)";
const PASSPHRASE_FD = "read the age identity's passphrase from this file descriptor";

function addIdentity(
  program: Command,
  { rooms, signal, terminal }: Pick<Setup, "rooms" | "signal" | "terminal">,
): void {
  const identity = program
    .command("identity")
    .description("the master's age identity, which opens every secret: protect, unprotect")
    .addHelpText("after", HELP.identity);
  const acts = [
    ["protect", "put it behind a passphrase, which the master then needs at each start"],
    ["unprotect", "take the passphrase off"],
  ] as const;
  for (const [act, description] of acts) {
    identity
      .command(act)
      .description(description)
      .option("-c, --config <file>", MASTER_CONFIG)
      .option("--passphrase-fd <number>", PASSPHRASE_FD)
      .action(async ({ config, passphraseFd }: MasterOptions) => {
        const passphrase =
          act === "protect"
            ? newPassphraseFrom(passphraseFd, terminal, signal)
            : passphraseFrom(passphraseFd, terminal, signal);
        const { file, recipient } = await rooms.identity({ act, config, passphrase });
        terminal.print(`${act}ed ${file}\nrecipient ${recipient}\n`);
      });
  }
}

/** Adds `master`, `identity`, `minion` and `call`: what runs on this machine instead of asking a master over its socket. */
export function addDaemonCommands(program: Command, { rooms, signal, terminal, end }: Setup): void {
  program
    .command("master")
    .description("run the master in the foreground")
    .option("-c, --config <file>", MASTER_CONFIG)
    .option("--passphrase-fd <number>", PASSPHRASE_FD)
    .addOption(
      new Option(
        "--socket-access <who>",
        "who may open the control socket: the master's user alone, or its group too",
      ).choices(["owner", "group"]),
    )
    .action(async ({ config, passphraseFd, socketAccess }: StartOptions) => {
      const passphrase = passphraseFrom(passphraseFd, terminal, signal);
      end(await rooms.master({ config, passphrase, socketAccess }, signal));
    });
  addIdentity(program, { rooms, signal, terminal });
  program
    .command("minion")
    .description("run this machine's minion in the foreground")
    .option("-c, --config <file>", "configuration file (default /etc/latchkey/minion.yaml)")
    .action(async ({ config }: { config?: string }) => end(await rooms.minion(config, signal)));
  program
    .command("call")
    .description("run one function on this machine, as its minion")
    .argument("<function>", "such as test.ping or state.highstate")
    .argument("[args...]", "arguments, and key=value")
    .option("-c, --config <file>", "minion configuration file (default /etc/latchkey/minion.yaml)")
    .option("--local", "without a master")
    .option(
      "--file-root <dir>",
      "with --local: where states are, default /srv/latchkey and /srv/salt; may be repeated",
      collect,
    )
    .option(
      "--pillar-root <dir>",
      "with --local: where pillar is, default /srv/latchkey-pillar and /srv/pillar; may be repeated",
      collect,
    )
    .option("--id <id>", "minion id in place of the configured one")
    .option("--test", "show what would change, change nothing")
    .option("--out <format>", "text, json, jsonl or yaml", "text")
    .addHelpText("after", HELP.call)
    .action(async (fun: string, words: readonly string[], options: CallOptions) => {
      const format = parseOutput(options.out);
      if (!options.local && (options.fileRoot ?? options.pillarRoot)) {
        throw new ConfigError("bad-option", "cannot use --file-root and --pillar-root with a master's trees", {
          hint: "add --local",
        });
      }
      const { args, kwargs } = parseArguments(words);
      const line = startRunLine(terminal, () => Date.now());
      const request: CallRequest = {
        fun,
        args,
        kwargs: options.test ? { ...kwargs, test: true } : kwargs,
        config: options.config,
        local: options.local ?? false,
        fileRoots: options.fileRoot ?? [],
        pillarRoots: options.pillarRoot ?? [],
        id: options.id,
      };
      const answer = await rooms.call(request, signal, line).finally(line.stop);
      const paint = paintWith(terminal.colour);
      // as salt-call prints it: this machine is "local"
      const text =
        format === "text"
          ? returnText({ ...answer, id: "local" }, paint)
          : documentText({ local: answer.data }, format, paint);
      terminal.print(text);
      end(answer.success ? 0 : 1);
    });
}
