import { columnsOf } from "./columns.ts";
import type { Colour, Paint } from "./paint.ts";
import { sanitiseLine } from "./sanitise.ts";

/** A cell: text from anywhere (made safe here), and how to show it. */
export interface Cell {
  readonly text: string;
  readonly colour?: Colour;
}

/** A table with a heading line, columns two blanks apart, no trailing blanks. Ends with a newline. */
export function tableText(headings: readonly string[], rows: readonly (readonly Cell[])[], paint: Paint): string {
  const cells: readonly (readonly Cell[])[] = [
    headings.map((text): Cell => ({ text, colour: "bold" })),
    ...rows.map((row) => row.map((cell) => ({ ...cell, text: sanitiseLine(cell.text) }))),
  ];
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => columnsOf(row[column]?.text ?? ""))));
  const line = (row: readonly Cell[]) =>
    row
      .map((cell, column) => {
        const text = cell.colour === undefined ? cell.text : paint(cell.colour, cell.text);
        const last = column === row.length - 1;
        return last ? text : text + " ".repeat((widths[column] ?? 0) - columnsOf(cell.text));
      })
      .join("  ")
      .trimEnd();
  return `${cells.map(line).join("\n")}\n`;
}

/** A moment for people, in local time to the second: `2026-11-22 16:00:47`; `never` for 0. */
export function timeText(ms: number): string {
  if (ms === 0) return "never";
  const date = new Date(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** How long ago, roughly: `12 s`, `5 min`, `3 h`, `9 d`. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}
