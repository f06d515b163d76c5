import type { Command } from "commander";
import type { AuditLogOptions } from "./audit-log.ts";
import type { VerifyOptions } from "./audit-verify.ts";
import { HELP } from "./help.ts";
import { parseOutput } from "./output.ts";
import type { Setup } from "./program.ts";

/** Adds `audit`: the record of what was decided, and the proof of it. */
export function addAuditCommands(program: Command, { context, end, rooms }: Setup): void {
  const audit = program
    .command("audit")
    .description("what was decided, by whom and why, and proof that nothing of it was changed")
    .addHelpText("after", HELP.audit);
  audit
    .command("log")
    .description("records of leases, holds, denials, receipts, keys, secrets, oldest first")
    .option("-f, --follow", "go on with those to come, until interrupted")
    .option("--minion <glob>", "only what this minion did or what is about it")
    .option("--kind <glob>", "only this kind, such as lease, deny or 'key-*'")
    .option("--since <time>", "only from then on: a date and time, or how long ago (2h)")
    .option("--until <time>", "only up to then")
    .option("-n, --limit <count>", "how many of the past, the newest", "100")
    .option("--json", "a JSON object a line")
    .action(async (options: AuditLogOptions) => {
      const { showAuditLog } = await import("./audit-log.ts");
      end(await showAuditLog(options, context()));
    });
  audit
    .command("show")
    .description("everything about one record")
    .argument("<record>", "its number")
    .option("--out <format>", "text, json, jsonl or yaml", "text")
    .option("--json", "the same as --out json")
    .action(async (seq: string, { out, json }: { out: string; json?: true }) => {
      const { showAuditRecord } = await import("./audit-log.ts");
      end(await showAuditRecord(seq, parseOutput(json ? "json" : out), context()));
    });
  audit
    .command("verify")
    .description("prove that no record was changed, removed, reordered or cut off")
    .argument("[file]", "an export; without it the running master's own store")
    .option("--fingerprint <print>", "the master's, needed with a file")
    .option(
      "--kept <file>",
      "with a file: checkpoints that minions keep, as `run '*' audit.checkpoint --out json` says",
    )
    .option("--witness", "ask the connected minions for the checkpoints that they keep")
    .option("--store <dir>", "the store of a master that does not run, such as /var/lib/latchkey/master")
    .option("--json", "the findings as JSON")
    .action(async (file: string | undefined, options: VerifyOptions) => {
      const { verifyAudit } = await import("./audit-verify.ts");
      end(await verifyAudit(file, options, { ...context(), verifyAuditStore: rooms.verifyAuditStore }));
    });
  audit
    .command("export")
    .description("everything as lines of JSON that prove themselves")
    .argument("[file]", "a new file; standard output without it")
    .action(async (file: string | undefined) => {
      const { exportAudit } = await import("./audit-verify.ts");
      end(await exportAudit(file, context()));
    });
}
