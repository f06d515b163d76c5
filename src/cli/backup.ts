import { resolve } from "node:path";
import type { BackupReport, BackupRequest } from "../core/backup-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { documentText, type OutputFormat } from "./output.ts";

/** How `backup` is asked for. */
export interface BackupOptions {
  readonly force: boolean;
  readonly format: OutputFormat;
}

/** `backup`: the running master copies its store, and says what the copy holds and what is not in it. */
export async function backUpMaster(file: string, context: Context, { force, format }: BackupOptions): Promise<number> {
  const { client, terminal, paint } = context;
  const body: BackupRequest = { path: resolve(file), force };
  const report = await client.request<BackupReport>("POST", "/v1/backup", body);
  if (format !== "text") terminal.print(documentText({ ...report, audit: { ...report.audit } }, format, paint));
  else terminal.print(reportText(report));
  return 0;
}

function reportText(report: BackupReport): string {
  const { path, bytes, sha256, secretVersions, headers, minionKeys, audit, fingerprint, recipients, keepToo } = report;
  return [
    `backed up to ${path}: ${bytes} bytes, sha256 ${sha256}`,
    `holds ${secretVersions} stored versions of secrets, ${headers} headers in escrow, ${minionKeys} minion keys, audit records up to ${audit.seq}`,
    `of the master ${fingerprint}; its secrets open with any of:`,
    ...recipients.map((recipient) => `  ${recipient}`),
    "not in it, and needed to restore; keep it too, apart from the backup:",
    ...keepToo.map((kept) => `  ${kept}`),
  ]
    .map((line) => `${sanitiseLine(line)}\n`)
    .join("");
}
