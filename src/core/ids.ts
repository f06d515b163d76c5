import { ConfigError } from "./errors.ts";

/** Host names and what Salt users call their hosts: never a path, never an option, at most 253 characters (RFC 1035). */
export const MINION_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/u;

/** A job id: UTC time as Salt writes it, 20 digits (microseconds), so that ids sort by time. */
export const JID = /^\d{20}$/u;

/** The name of an SLS file: dotted words. */
export const SLS_NAME = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/u;

/** Throws ConfigError `bad-minion-id` unless the id is well formed. */
export function assertMinionId(id: string): string {
  if (!MINION_ID.test(id) || id.includes("..")) {
    throw new ConfigError(
      "bad-minion-id",
      `cannot use minion id "${id}": letters, digits, dot, dash and underscore only`,
    );
  }
  return id;
}

/** The job id for a moment; `micros` (0 to 999) tells apart ids of one millisecond. */
export function jidAt(nowMs: number, micros: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== lastSecond) {
    const [date = "", time = ""] = new Date(second * 1000).toISOString().split("T");
    lastDigits = `${date.replaceAll("-", "")}${time.slice(0, 2)}${time.slice(3, 5)}${time.slice(6, 8)}`;
    lastSecond = second;
  }
  const millis = Math.floor(nowMs) - second * 1000;
  return `${lastDigits}${String(millis).padStart(3, "0")}${String(micros).padStart(3, "0")}`;
}

let lastSecond = Number.NaN;
let lastDigits = "";
