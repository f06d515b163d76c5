import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { nestedLines } from "./nested.ts";
import type { Colour, Paint } from "./paint.ts";
import { safeJson, sanitise, sanitiseLine } from "./sanitise.ts";

const RULE = "----------";

/** The part of a state's return that is printed, read leniently: it comes from a minion. */
interface Row {
  readonly id: string;
  readonly fun: string;
  readonly name: string;
  readonly result: boolean | null;
  readonly comment: string;
  readonly started: string;
  readonly durationMs: number;
  readonly changes: Json;
  readonly runNumber: number;
}

/** The rows of a state run by tag, as they came. */
type RunData = Readonly<Record<string, JsonObject>>;

/** Whether a return is that of a state run: every value has a state's `__run_num__` and `result`. */
export function isStateRun(data: Json): data is RunData {
  return (
    isJsonObject(data) &&
    Object.keys(data).length > 0 &&
    Object.entries(data).every(
      ([tag, row]) => tag.split("_|-").length >= 4 && isJsonObject(row) && "__run_num__" in row && "result" in row,
    )
  );
}

const textOf = (value: Json | undefined) =>
  typeof value === "string" ? value : value === undefined ? "" : safeJson(value);
const numberOf = (value: Json | undefined) => (typeof value === "number" ? value : 0);

/** Rows in the order they ran. The tag is `<state>_|-<id>_|-<name>_|-<function>`. */
function rowsOf(data: RunData): readonly Row[] {
  return Object.entries(data)
    .map(([tag, row]): Row => {
      const parts = tag.split("_|-");
      return {
        id: parts[1] ?? "",
        fun: `${parts[0]}.${parts.at(-1)}`,
        name: parts.slice(2, -1).join("_|-"),
        result: row["result"] === null || row["result"] === true ? row["result"] : false,
        comment: textOf(row["comment"]),
        started: textOf(row["start_time"]),
        durationMs: numberOf(row["duration"]),
        changes: row["changes"] ?? {},
        runNumber: numberOf(row["__run_num__"]),
      };
    })
    .toSorted((a, b) => a.runNumber - b.runNumber);
}

const hasChanges = (row: Row) =>
  isJsonObject(row.changes) ? Object.keys(row.changes).length > 0 : Boolean(row.changes);

function colourOf(row: Row): Colour {
  if (row.result === false) return "red";
  if (row.result === null) return "yellow";
  return hasChanges(row) ? "cyan" : "green";
}

function rowLines(row: Row, paint: Paint): readonly string[] {
  const colour = colourOf(row);
  const result = row.result === null ? "None" : row.result ? "True" : "False";
  const comment = sanitise(row.comment)
    .trim()
    .replaceAll("\n", `\n${" ".repeat(14)}`);
  const fields: readonly (readonly [string, string])[] = [
    ["ID", sanitiseLine(row.id)],
    ["Function", sanitiseLine(row.fun)],
    ...(row.name === row.id ? [] : [["Name", sanitiseLine(row.name)] as const]),
    ["Result", result],
    ["Comment", comment],
    ["Started", sanitiseLine(row.started)],
    ["Duration", `${row.durationMs} ms`],
    ["Changes", "  "],
  ];
  return [
    paint(colour, RULE),
    ...fields.map(([label, text]) => paint(colour, `${label.padStart(12)}: ${text}`)),
    ...(hasChanges(row) ? nestedLines(row.changes, paint, { indent: 14 }) : []),
  ];
}

function summaryLines(host: string, rows: readonly Row[], paint: Paint): readonly string[] {
  const count = (result: boolean | null) => rows.filter((row) => row.result === result).length;
  const failed = count(false);
  const wouldChange = count(null);
  const succeeded = rows.length - failed;
  const changed = rows.filter(hasChanges).length;
  // Salt's own arithmetic: the longest label, ": ", and the widest of its three counts
  const digits = Math.max(...[count(true), failed, wouldChange].map((n) => String(n).length));
  const width = "Succeeded".length + 2 + digits;
  const line = (label: string, n: number) => `${label}: ${String(n).padStart(width - label.length - 2)}`;
  const notes = [
    ...(wouldChange > 0 ? [paint("yellow", `unchanged=${wouldChange}`)] : []),
    ...(changed > 0 ? [paint("green", `changed=${changed}`)] : []),
  ];
  const totalMs = rows.reduce((sum, row) => sum + row.durationMs, 0);
  const [total, unit] = totalMs > 999 ? [totalMs / 1000, "s"] : [totalMs, "ms"];
  return [
    "",
    paint("cyan", `Summary for ${host}`),
    paint("cyan", "-".repeat(width)),
    paint("green", line("Succeeded", succeeded)) + (notes.length > 0 ? ` (${notes.join(", ")})` : ""),
    paint(failed > 0 ? "red" : "cyan", line("Failed", failed)),
    paint("cyan", "-".repeat(width)),
    paint("cyan", `Total states run: ${String(rows.length).padStart(width - 7)}`),
    paint("cyan", `Total run time: ${total.toFixed(3).padStart(width - 5)} ${unit}`),
  ];
}

/**
 * A state run in the shape of Salt's `highstate` outputter (salt/output/highstate.py): a block a state in running order,
 * then the summary.
 */
export function stateRunText(host: string, data: RunData, paint: Paint): string {
  const rows = rowsOf(data);
  const worst = rows.some((row) => row.result === false)
    ? "red"
    : rows.some((row) => row.result === null)
      ? "yellow"
      : rows.some(hasChanges)
        ? "cyan"
        : "green";
  const safeHost = sanitiseLine(host);
  return [
    paint(worst, `${safeHost}:`),
    ...rows.flatMap((row) => rowLines(row, paint)),
    ...summaryLines(safeHost, rows, paint),
    "",
  ].join("\n");
}

/** The return of a run that did not compile, as Salt prints it. */
export function compileErrorText(host: string, errors: readonly Json[], paint: Paint): string {
  return [
    paint("red", `${sanitiseLine(host)}:`),
    paint("red", "    Data failed to compile:"),
    ...errors.flatMap((error) => [
      paint("red", RULE),
      paint("red", `    ${sanitise(textOf(error)).replaceAll("\n", "\n    ")}`),
    ]),
    "",
  ].join("\n");
}
