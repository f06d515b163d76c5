import type { Command } from "commander";
import { parseCount } from "./arguments.ts";
import { ConfigError } from "../core/errors.ts";
import { HELP } from "./help.ts";
import { parseOutput } from "./output.ts";
import type { Setup } from "./program.ts";

interface OutOption {
  readonly out: string;
  readonly json?: true;
}

const formatOf = (options: OutOption) => parseOutput(options.json ? "json" : options.out);
const withOut = (command: Command) =>
  command.option("--out <format>", "text, json, jsonl or yaml", "text").option("--json", "the same as --out json");
const FORCE = ["--force", "skip the safeguard against the loss of a volume's key; recorded"] as const;
const onPath = (command: Command) =>
  command.argument("<host>", "minion id").argument("<path>", "pillar path, keys joined by colons");

interface ShowOptions {
  readonly revision?: string;
  readonly base64?: true;
  readonly yes?: true;
}

interface RekeyOptions extends OutOption {
  readonly identity?: true;
  readonly dropOld?: true;
  readonly yes?: true;
  readonly passphraseFd?: string;
}

/** Adds `secret`: list, show, set, history, import, rekey. */
export function addSecretCommands(program: Command, { context, end }: Setup): void {
  const secret = program
    .command("secret")
    .description("secrets of pillar and store: list, show, set, history, import, rekey")
    .addHelpText("after", HELP.secret);
  withOut(secret.command("list").description("every secret, where it is and what uses it; never a value"))
    .argument("[host]", "minion id")
    .action(async (host: string | undefined, options: OutOption) => {
      const { listSecrets } = await import("./secrets.ts");
      end(await listSecrets(host, formatOf(options), context()));
    });
  onPath(secret.command("show").description("a value in plain, its exact bytes; asks first, and is recorded"))
    .option("-y, --yes", "do not ask")
    .option("--revision <number>", "this version of the store in place of the current value")
    .option("--base64", "as base64, with a line break")
    .action(async (id: string, path: string, { revision, base64, yes }: ShowOptions) => {
      const { showSecret } = await import("./secret-show.ts");
      const version = revision === undefined ? undefined : parseCount(revision);
      end(await showSecret({ id, path, version, base64: base64 ?? false, yes: yes ?? false }, context()));
    });
  onPath(secret.command("set").description("put a secret into a host's pillar file, without reading any"))
    .option("--stdin", "the value is all of standard input; else it is asked for")
    .option(...FORCE)
    .action(async (id: string, path: string, { stdin, force }: { stdin?: true; force?: true }) => {
      const { setSecret } = await import("./secret-set.ts");
      end(await setSecret({ id, path, stdin: stdin ?? false, force: force ?? false }, context()));
    });
  withOut(
    onPath(secret.command("history").description("a secret's stored versions and their times; never a value")),
  ).action(async (id: string, path: string, options: OutOption) => {
    const { showHistory } = await import("./secrets.ts");
    end(await showHistory(id, path, formatOf(options), context()));
  });
  onPath(secret.command("import").description("move a secret from the pillar file into the store; its bytes stay"))
    .option(...FORCE)
    .action(async (id: string, path: string, { force }: { force?: true }) => {
      const { importSecret } = await import("./secrets.ts");
      end(await importSecret({ id, path, force: force ?? false }, context()));
    });
  withOut(
    secret
      .command("rekey")
      .description("encrypt everything to the recipients of now; goes on where it was interrupted"),
  )
    .option("--identity", "replace the master's own age identity first; the older one is kept beside it")
    .option("--drop-old", "destroy the older identity, once it is proven that nothing needs it; asks first")
    .option("-y, --yes", "do not ask")
    .option("--passphrase-fd <number>", "read the age identity's passphrase from this file descriptor")
    .action(async ({ identity, dropOld, ...options }: RekeyOptions) => {
      if (identity && dropOld) throw new ConfigError("bad-usage", "cannot use both --identity and --drop-old");
      const { dropOld: drop, rekey, renew } = await import("./secret-rekey.ts");
      if (dropOld) return end(await drop({ yes: options.yes ?? false, fd: options.passphraseFd }, context()));
      if (identity) await renew(options.passphraseFd, context());
      end(await rekey(formatOf(options), context()));
    });
}
