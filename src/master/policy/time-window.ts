import { z } from "../../core/schema.ts";

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
const dayName = z.enum(DAYS);
const timeOfDay = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/u, "write a time of day as HH:MM");

function isTimeZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: zone }).format(0) !== "";
  } catch {
    return false;
  }
}

/** When a rule holds: days and a span of the day, in one time zone. A span that ends before it starts crosses midnight. */
export const timeWindowSchema = z.strictObject({
  days: z
    .array(dayName)
    .min(1)
    .default([...DAYS]),
  from: timeOfDay.default("00:00"),
  to: timeOfDay.default("24:00"),
  zone: z.string().refine(isTimeZone, "name a time zone of the tz database, such as Europe/Berlin").default("UTC"),
});

export type TimeWindow = z.infer<typeof timeWindowSchema>;

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  formats.set(zone, made);
  return made;
}

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/**
 * Whether a moment (milliseconds since the epoch) lies in the window, as clocks on the wall of its zone show it. The start
 * belongs to the window and the end does not; what crosses midnight belongs to the day it started on.
 */
export function isInWindow(window: TimeWindow, now: number): boolean {
  const parts = Object.fromEntries(
    formatOf(window.zone)
      .formatToParts(now)
      .map((part) => [part.type, part.value]),
  );
  const today = DAYS.findIndex((day) => day === parts["weekday"]?.toLowerCase());
  const minute = Number(parts["hour"]) * 60 + Number(parts["minute"]);
  const from = minutesOf(window.from);
  const to = minutesOf(window.to);
  const on = (index: number) => window.days.some((day) => day === DAYS[(index + 7) % 7]);
  if (from < to) return on(today) && minute >= from && minute < to;
  return (on(today) && minute >= from) || (on(today - 1) && minute < to);
}
