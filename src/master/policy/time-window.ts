import { z } from "../../core/schema.ts";
import type { Truth } from "./truth.ts";

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

/** No clock that is right shows an earlier moment: one without a battery starts at 1970, 2000 or 2010. */
const EARLIEST = Date.UTC(2020);

/** Whether a moment (milliseconds since the epoch) can be what it claims to be. */
export function isPlausible(now: number): boolean {
  return Number.isFinite(now) && now >= EARLIEST;
}

/**
 * Whether a moment (milliseconds since the epoch) lies in the window, as clocks on the wall of its zone show it. The start
 * belongs to the window and the end does not; what crosses midnight belongs to the day it started on. Unknown for a moment
 * that no right clock shows, and where the zone is not known any more.
 */
export function isInWindow(window: TimeWindow, now: number): Truth {
  const wall = isPlausible(now) ? wallClock(window.zone, now) : undefined;
  if (!wall) return "unknown";
  const { today, minute } = wall;
  const from = minutesOf(window.from);
  const to = minutesOf(window.to);
  const on = (index: number) => window.days.some((day) => day === DAYS[(index + 7) % 7]);
  const isIn =
    from < to
      ? on(today) && minute >= from && minute < to
      : (on(today) && minute >= from) || (on(today - 1) && minute < to);
  return isIn ? "yes" : "no";
}

function wallClock(zone: string, now: number): { readonly today: number; readonly minute: number } | undefined {
  try {
    const parts = new Map(
      formatOf(zone)
        .formatToParts(now)
        .map(({ type, value }) => [type, value]),
    );
    const today = DAYS.findIndex((day) => day === parts.get("weekday")?.toLowerCase());
    const minute = Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
    return today < 0 || Number.isNaN(minute) ? undefined : { today, minute };
  } catch (error) {
    // RangeError: the tz database of this run does not have it
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
