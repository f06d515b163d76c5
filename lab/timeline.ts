import type { ConsoleLine } from "./console.ts";

/** A moment worth telling, and the line by which it is recognised. */
export interface Moment {
  readonly label: string;
  readonly pattern: RegExp;
}

export interface TimelineEntry {
  readonly label: string;
  /** Milliseconds after the host was switched on; undefined when it never came. */
  readonly afterMs: number | undefined;
}

/** Something that happened, by its name or line, in milliseconds since the epoch. */
export interface Happening {
  readonly text: string;
  readonly at: number;
}

/**
 * When each moment of one boot came: the first console line or other happening that matches it, in the order of the
 * moments.
 */
export function timelineOf(
  lines: readonly ConsoleLine[],
  boot: number,
  moments: readonly Moment[],
  happenings: readonly Happening[] = [],
): readonly TimelineEntry[] {
  const ofBoot = lines.filter((line) => line.boot === boot);
  const on = ofBoot.find(({ source, text }) => source === "lab" && text === "power on")?.at ?? ofBoot[0]?.at ?? 0;
  return moments.map(({ label, pattern }) => {
    const line = [...happenings, ...ofBoot].find(({ text }) => pattern.test(text));
    // the kernel's own account of its start is some ten milliseconds coarse
    return { label, afterMs: line === undefined ? undefined : Math.max(0, line.at - on) };
  });
}

/** Timelines of several boots side by side, as text: a row a moment, a column a boot. */
export function timelineTable(columns: Readonly<Record<string, readonly TimelineEntry[]>>): string {
  const titles = Object.keys(columns);
  const labels = columns[titles[0] ?? ""]?.map(({ label }) => label) ?? [];
  const width = Math.max(...labels.map((label) => label.length));
  const cells = (values: readonly string[]) => values.map((value) => value.padStart(14)).join("");
  const rows = labels.map((label, row) => {
    const values = titles.map((title) => {
      const afterMs = columns[title]?.[row]?.afterMs;
      return afterMs === undefined ? "-" : `${(afterMs / 1000).toFixed(2)} s`;
    });
    return `${label.padEnd(width)}${cells(values)}`;
  });
  return [`${"".padEnd(width)}${cells(titles)}`, ...rows].join("\n");
}
