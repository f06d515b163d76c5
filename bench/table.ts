import { type Machine, type Scale, slowness } from "./machine.ts";

/** What a figure is judged by. */
export interface Budget {
  readonly limit: number;
  readonly good: "below" | "above";
  readonly aim?: number;
  /** Left out: the budget is a ratio, or hangs on no machine. */
  readonly scale?: Scale;
}

/** One measured figure beside what it is judged by. */
export interface BenchRow {
  /** Name in the JSON line. */
  readonly key: string;
  readonly value: number;
  readonly unit: string;
  /** The budget, when there is one, and which side of it is good. */
  readonly budget?: Budget;
  /** A peer's figure or how it was measured. */
  readonly note?: string;
}

export interface BenchResult {
  readonly rows: readonly BenchRow[];
  /** Lines printed below the table. */
  readonly remarks?: readonly string[];
}

/** A figure as people read it. */
export const digits = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(value < 1 ? 3 : 2);

/** The limit that a budget comes to on this machine; undefined for one that hangs on no machine. */
export function scaledLimit({ limit, good, scale }: Budget, machine: Machine): number | undefined {
  if (scale === undefined) return undefined;
  const factor = slowness(machine, scale);
  return good === "below" ? limit * factor : limit / factor;
}

function verdict({ value, budget }: BenchRow, machine: Machine): string {
  if (!budget) return "";
  const isMet = (limit: number) => ((budget.good === "below" ? value <= limit : value >= limit) ? "met" : "MISSED");
  const sign = budget.good === "below" ? "<" : ">";
  const aim = budget.aim === undefined ? "" : `, aim ${sign} ${budget.aim}`;
  const scaled = scaledLimit(budget, machine);
  const here = scaled === undefined ? "" : `; scaled to this machine ${isMet(scaled)} (${sign} ${digits(scaled)})`;
  return `${isMet(budget.limit)} (${sign} ${budget.limit}${aim})${here}`;
}

/** The figures as an aligned text table. */
export function formatTable(name: string, { rows, remarks = [] }: BenchResult, machine: Machine): string {
  const cells = rows.map((row) => [row.key, `${digits(row.value)} ${row.unit}`, verdict(row, machine), row.note ?? ""]);
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const lines = cells.map((line) =>
    line
      .map((cell, column) => (column === 1 ? cell.padStart(widths[1] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  return [`== ${name}`, ...lines, ...remarks.map((remark) => `   ${remark}`), ""].join("\n");
}
