import type { FailingVolume, LastHighstate, MasterStatus, MinionStatus } from "../core/control-api.ts";
import type { JsonObject } from "../core/json.ts";
import type { Context } from "./context.ts";
import type { Paint } from "./format/paint.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { ageText, type Cell, tableText, timeText } from "./format/table.ts";
import { documentText, type OutputFormat } from "./output.ts";

function highstateCell(last: LastHighstate | null): Cell {
  if (last === null) return { text: "-" };
  const total = last.succeeded + last.failed;
  const verdict = last.success ? `${total} succeeded` : `${last.failed} of ${total} failed`;
  return { text: `${verdict}, ${last.changed} changed`, colour: last.success ? "green" : "red" };
}

function row(minion: MinionStatus, now: number): readonly Cell[] {
  const since = minion.since === 0 ? "never" : ageText(now - minion.since);
  const last = minion.lastHighstate;
  return [
    { text: minion.id },
    minion.connected ? { text: "connected", colour: "green" } : { text: "offline", colour: "red" },
    { text: since },
    { text: minion.address || "-" },
    { text: minion.running.map((job) => `${job.fun} for ${ageText(now - job.since)}`).join(", ") || "-" },
    { text: last === null ? "-" : `${timeText(last.finishedAt)}${last.startup ? " (startup)" : ""}` },
    highstateCell(last),
  ];
}

/** `status`: the master in a line, then a table of its minions, then whose next boot would fail. */
export async function showStatus(format: OutputFormat, context: Context): Promise<number> {
  const status = await context.client.request<MasterStatus>("GET", "/v1/status");
  if (format !== "text") {
    context.terminal.print(documentText(status as unknown as JsonObject, format, context.paint));
    return 0;
  }
  const { terminal, paint } = context;
  const now = context.now();
  const connected = status.minions.filter((minion) => minion.connected).length;
  terminal.print(
    [
      `master ${sanitiseLine(status.version)}, up ${ageText(now - status.startedAt)},`,
      `port ${status.returnPort}, fingerprint ${sanitiseLine(status.fingerprint)}\n`,
    ].join(" "),
  );
  const { sessions, strangers, most } = status.connections;
  const crowd = `connections: ${sessions} with a session, ${strangers} without, room for ${most}`;
  terminal.print(`${sessions + strangers < most ? crowd : paint("yellow", crowd)}\n`);
  if (status.audit.failing) {
    const { since, reason } = status.audit.failing;
    const text = `audit: failing since ${timeText(since)}, no key is released: ${sanitiseLine(reason)}`;
    terminal.print(`${paint("red", text)}\n`);
  }
  for (const { id, volume, reason } of status.stuckErasures) {
    const text = `erase: ${sanitiseLine(`${id}/${volume}`)} is not erased for good yet, and is tried again: ${sanitiseLine(reason)}`;
    terminal.print(`${paint("red", text)}\n`);
  }
  const drops = Object.entries(status.drops).filter(([, count]) => count > 0);
  if (drops.length > 0) {
    const text = drops.map(([reason, count]) => `${sanitiseLine(reason)} ${count}`).join(", ");
    terminal.print(`${paint("yellow", `frames dropped, connections cut off: ${text}`)}\n`);
  }
  if (status.minions.length === 0) {
    terminal.print("no accepted minions yet: see who waits with `latchkey keys list`\n");
    return 0;
  }
  terminal.print(`${connected} of ${status.minions.length} minions connected\n\n`);
  const minions = status.minions.toSorted((a, b) => a.id.localeCompare(b.id));
  const headings = ["MINION", "STATE", "SINCE", "ADDRESS", "RUNNING", "LAST HIGHSTATE", "RESULT"];
  terminal.print(
    tableText(
      headings,
      minions.map((minion) => row(minion, now)),
      paint,
    ),
  );
  if (status.nextBootFails.length > 0) terminal.print(`\n${failingText(status.nextBootFails, now, paint)}`);
  return 0;
}

/** Volumes that would not come up, said before it happens. */
function failingText(failing: readonly FailingVolume[], now: number, paint: Paint): string {
  const hosts = new Set(failing.map(({ id }) => id)).size;
  const count = hosts === 1 ? "1 host" : `${hosts} hosts`;
  const rows = failing.map(({ id, volume, heardAt, problems }): readonly Cell[] => [
    { text: `${id}/${volume}` },
    { text: `${ageText(now - heardAt)} ago` },
    { text: problems.map(({ text }) => text).join("; "), colour: "red" },
  ]);
  const heading = paint("red", `the next boot of ${count} would fail:`);
  return `${heading}\n${tableText(["VOLUME", "REPORTED", "BECAUSE"], rows, paint)}`;
}
