import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import type { Paint } from "./paint.ts";
import { safeJson, sanitise, sanitiseLine } from "./sanitise.ts";

/** Whether a return is that of a command on volumes: a row with result, comment and changes for each. */
export function isVolumeRun(data: Json): data is Readonly<Record<string, JsonObject>> {
  return (
    isJsonObject(data) &&
    Object.keys(data).length > 0 &&
    Object.values(data).every(
      (row) => isJsonObject(row) && typeof row["result"] === "boolean" && typeof row["comment"] === "string",
    )
  );
}

const text = (value: Json | undefined): string =>
  value === null || value === undefined || value === ""
    ? "-"
    : typeof value === "string"
      ? sanitiseLine(value)
      : sanitiseLine(safeJson(value));

function changeLines(changes: JsonObject, paint: Paint): readonly string[] {
  const entries = Object.entries(changes).map(([name, change]) => {
    const words =
      isJsonObject(change) && "new" in change ? `${text(change["old"])} > ${text(change["new"])}` : text(change);
    return [sanitiseLine(name), words] as const;
  });
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, words]) => paint("cyan", `        ${name.padEnd(width)}  ${words}`));
}

const indent = (block: string, columns: number): string =>
  sanitise(block)
    .trimEnd()
    .split("\n")
    .map((line) => `${" ".repeat(columns)}${line}`)
    .join("\n");

/** What became of each volume of a host: one line, then what changed and what was noted. */
export function volumeRunText(host: string, data: Readonly<Record<string, JsonObject>>, paint: Paint): string {
  const failed = Object.values(data).some(({ result }) => result !== true);
  const lines = [paint(failed ? "red" : "cyan", `${sanitiseLine(host)}:`)];
  for (const [name, row] of Object.entries(data)) {
    const { changes, notes, ms } = row;
    const comment = typeof row["comment"] === "string" ? sanitise(row["comment"]).trimEnd() : "";
    const [first = "", ...rest] = comment.split("\n");
    const changed = isJsonObject(changes) && Object.keys(changes).length > 0;
    const took = typeof ms === "number" && changed ? ` (${(ms / 1000).toFixed(1)} s)` : "";
    const colour = row["result"] === true ? (changed ? "cyan" : "green") : "red";
    const word = row["result"] === true ? first : `FAILED: ${first}`;
    lines.push(paint(colour, `    ${sanitiseLine(name)}: ${word}${took}`));
    lines.push(...rest.map((line) => paint(colour, `      ${line}`)));
    if (isJsonObject(changes)) lines.push(...changeLines(changes, paint));
    if (Array.isArray(notes)) {
      for (const note of notes) if (typeof note === "string") lines.push(paint("dim", indent(note, 8)));
    }
  }
  return `${lines.join("\n")}\n`;
}
