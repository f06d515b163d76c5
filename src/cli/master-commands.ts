import type { Command } from "commander";
import { HELP } from "./help.ts";
import { parseCount } from "./arguments.ts";
import { formatOf, type OutOption, withOut } from "./out-option.ts";
import type { Setup } from "./program.ts";

interface KeyOptions {
  readonly yes?: true;
  readonly fingerprint?: string;
  readonly force?: true;
}

/** Adds what asks the master about itself: keys, status, jobs, leases, pillar, events. */
export function addMasterCommands(program: Command, { context, end }: Setup): void {
  addKeys(program, context, end);
  withOut(
    program.command("status").description("the master and its minions: connected, since when, last highstate"),
  ).action(async (options: OutOption) => {
    const { showStatus } = await import("./status.ts");
    end(await showStatus(formatOf(options), context()));
  });
  const jobs = program.command("jobs").description("look at jobs that were pushed");
  withOut(jobs.command("show").description("a job's returns so far, also those that came late"))
    .argument("<jid>", "job id")
    .action(async (jid: string, options: OutOption) => {
      const { showJob } = await import("./jobs-show.ts");
      end(await showJob(jid, formatOf(options), context()));
    });
  withOut(program.command("leases").description("which keys were released or refused, to whom, what for"))
    .option("-n, --limit <count>", "how many, newest first", "20")
    .action(async (options: OutOption & { limit: string }) => {
      const { listLeases } = await import("./leases.ts");
      end(await listLeases(parseCount(options.limit), formatOf(options), context()));
    });
  const pillar = program.command("pillar").description("show and edit what a host is told");
  withOut(pillar.command("show").description("the compiled pillar of a host, secrets masked"))
    .argument("<host>", "minion id")
    .action(async (id: string, options: OutOption) => {
      const { showPillar } = await import("./pillar-show.ts");
      end(await showPillar(id, formatOf(options), context()));
    });
  pillar
    .command("edit")
    .description("edit a host's pillar file, secrets decrypted")
    .argument("<host>", "minion id")
    .option("--force", "save it although a volume would lose its key; recorded")
    .addHelpText("after", HELP.pillarEdit)
    .action(async (id: string, { force }: { force?: true }) => {
      const { editPillar } = await import("./pillar-edit.ts");
      end(await editPillar(id, context(), { force: force ?? false }));
    });
  withOut(
    pillar.command("lint").description("plain keys, unused secrets, hosts without pillar, recipients that are missing"),
  ).action(async (options: OutOption) => {
    const { lintPillar } = await import("./pillar-lint.ts");
    end(await lintPillar(formatOf(options), context()));
  });
  withOut(program.command("backup").description("copy the running master's store into a file, whole and proven"))
    .argument("<file>", "a new file on the master's machine, best on another disk")
    .option("--force", "replace a file that is there")
    .addHelpText("after", HELP.backup)
    .action(async (file: string, { force, ...options }: OutOption & { force?: true }) => {
      const { backUpMaster } = await import("./backup.ts");
      end(await backUpMaster(file, context(), { force: force ?? false, format: formatOf(options) }));
    });
  program
    .command("events")
    .description("follow what happens at the master")
    .option("--json", "a JSON object a line")
    .action(async ({ json }: { json?: true }) => {
      const { followEvents } = await import("./events.ts");
      end(await followEvents(json ?? false, context()));
    });
}

function addKeys(program: Command, context: Setup["context"], end: Setup["end"]): void {
  const keys = program
    .command("keys")
    .description("which minions may connect: list, show, accept, reject, delete")
    .addHelpText("after", HELP.keys);
  withOut(keys.command("list").description("all minion keys, or those of one state"))
    .argument("[state]", "pending, accepted, rejected or denied")
    .action(async (state: string | undefined, options: OutOption) => {
      const { listKeys } = await import("./keys.ts");
      end(await listKeys(state, formatOf(options), context()));
    });
  withOut(keys.command("show").description("everything about one minion's key"))
    .argument("<id>", "minion id")
    .action(async (id: string, options: OutOption) => {
      const { showKey } = await import("./keys.ts");
      end(await showKey(id, formatOf(options), context()));
    });
  const changes = [
    ["accept", "let pending or rejected minions in"],
    ["reject", "shut minions out, and cut their sessions at once"],
    ["delete", "forget minions, and cut their sessions at once; they may ask again"],
  ] as const;
  for (const [action, description] of changes) {
    keys
      .command(action)
      .description(description)
      .argument("<glob>", "minion ids, such as 'web*'")
      .option("-y, --yes", "do not ask")
      .option("--fingerprint <print>", "only the key with this fingerprint")
      .option("--force", "with delete: also hosts that have provisioned volumes; recorded")
      .action(async (match: string, { yes, fingerprint, force }: KeyOptions) => {
        const { changeKeys } = await import("./keys.ts");
        const flags = { yes: yes ?? false, force: force ?? false };
        end(await changeKeys({ action, match, fingerprint, ...flags }, context()));
      });
  }
}
