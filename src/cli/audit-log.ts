import type { AuditRecord } from "../core/audit/chain.ts";
import { ConfigError } from "../core/errors.ts";
import { parseDuration } from "./arguments.ts";
import { AUDIT_HEADINGS, auditCells } from "./audit-text.ts";
import type { Context } from "./context.ts";
import { safeJson, sanitiseLine } from "./format/sanitise.ts";
import { type Cell, tableText } from "./format/table.ts";
import { yamlText } from "./format/yaml.ts";
import { documentText, type OutputFormat } from "./output.ts";

/** What `audit log` is asked for, as written on the command line. */
export interface AuditLogOptions {
  readonly minion?: string;
  readonly kind?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: string;
  readonly follow?: true;
  readonly json?: true;
}

/** A moment in milliseconds: a date and time (local unless it says otherwise), or a duration ago. */
export function parseMoment(text: string, now: number): number {
  const ago = /^(?:\d+(?:\.\d+)?)(?:ms|s|m|h)$/u.test(text) ? parseDuration(text) : undefined;
  const days = /^(\d{1,5})d$/u.exec(text)?.[1];
  if (ago !== undefined) return now - ago;
  if (days !== undefined) return now - Number(days) * 86_400_000;
  // a bare date is read as UTC by Date, everything else as local time
  const moment = Date.parse(/^\d{4}-\d\d-\d\d$/u.test(text) ? `${text}T00:00` : text.replace(" ", "T"));
  if (Number.isNaN(moment) || moment < 0) {
    throw new ConfigError("bad-time", `cannot read "${text}" as a time`, {
      hint: "write 2026-11-22, '2026-11-22 17:00', 2026-11-22T16:00Z, or how long ago: 30m, 2h, 7d",
    });
  }
  return moment;
}

/** `audit log`: records that fit, oldest first; with --follow also those to come, until interrupted. */
export async function showAuditLog(options: AuditLogOptions, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const query = new URLSearchParams({ limit: options.limit });
  if (options.minion !== undefined) query.set("minion", options.minion);
  if (options.kind !== undefined) query.set("kind", options.kind);
  if (options.since !== undefined) query.set("since", String(parseMoment(options.since, context.now())));
  if (options.until !== undefined) query.set("until", String(parseMoment(options.until, context.now())));
  if (options.follow) query.set("follow", "1");
  const rows: (readonly Cell[])[] = [];
  const widths = [6, 19, 13, 12, 15];
  for await (const record of client.stream<AuditRecord>("GET", `/v1/audit?${query.toString()}`)) {
    if (options.json) terminal.print(`${safeJson(record)}\n`);
    else if (options.follow) terminal.print(followedLine(auditCells(record), widths, context));
    else rows.push(auditCells(record));
  }
  if (rows.length > 0) terminal.print(tableText(AUDIT_HEADINGS, rows, paint));
  else if (!options.json && !options.follow) terminal.print("no audit records that fit\n");
  return 0;
}

/** A row that cannot know those to come: its columns are as wide as the widest so far. */
function followedLine(cells: readonly Cell[], widths: number[], { paint }: Context): string {
  const parts = cells.map(({ text, colour }, column) => {
    const safe = sanitiseLine(text);
    const width = Math.max(widths[column] ?? 0, column < cells.length - 1 ? safe.length : 0);
    widths[column] = width;
    return (colour === undefined ? safe : paint(colour, safe)) + " ".repeat(Math.max(0, width - safe.length));
  });
  return `${parts.join("  ").trimEnd()}\n`;
}

/** `audit show`: everything about one record. */
export async function showAuditRecord(seq: string, format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  if (!/^\d{1,15}$/u.test(seq)) throw new ConfigError("bad-number", `cannot read "${seq}" as a record's number`);
  const record = await client.request<AuditRecord>("GET", `/v1/audit/${seq}`);
  const { data, prev, hash } = record;
  if (format !== "text") terminal.print(documentText({ ...record }, format, paint));
  else terminal.print(`${tableText(AUDIT_HEADINGS, [auditCells(record)], paint)}\n${yamlText({ data, prev, hash })}`);
  return 0;
}
