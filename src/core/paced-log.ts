import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";

/** Lines of one host and kind, or of one kind that names no host, within a minute; what is more is counted. */
const LINES_OF_HOST = 20;
const LINES_OF_KIND = 200;
const WINDOW_MS = 60_000;
/** Hosts and kinds that are told apart at once. */
const MAX_KEYS = 10_000;

interface Told {
  readonly since: number;
  readonly facts: Readonly<Record<string, unknown>>;
  lines: number;
  held: number;
}

/** A log in which no host, and nobody who is no host, can drown the others. */
export interface PacedLog extends Logger {
  /** Writes how many lines were left out of the minutes that are over; to be called now and then. */
  sweep(): void;
}

/** What a paced log rests on. */
export interface PacedLogOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Whether an id is that of a host: whoever is none shares the lines of all who are none. */
  readonly isHost: (id: string) => boolean;
}

/**
 * The same log, each line of which is counted by its text and the `id` it names: the first ones of a minute are written, for
 * the rest one line with their number follows when the minute is over. It stands before every room, so no line can pass it by.
 */
export function pacedLog(log: Logger, { clock, isHost }: PacedLogOptions): PacedLog {
  const told = new Map<string, Told>();
  const summarize = (key: string, entry: Told) => {
    told.delete(key);
    if (entry.held > 0) log.warn({ ...entry.facts, held: entry.held }, "log lines of one kind were left out");
  };
  const admits = (line: readonly unknown[]): boolean => {
    const now = clock.monotonicMs();
    const facts = factsOf(line, isHost);
    const key = JSON.stringify(facts);
    const known = told.get(key);
    if (known !== undefined && now - known.since >= WINDOW_MS) summarize(key, known);
    const entry = told.get(key) ?? { since: now, facts, lines: 0, held: 0 };
    told.set(key, entry);
    const [oldest] = told.size > MAX_KEYS ? told : [];
    if (oldest !== undefined) summarize(...oldest);
    const isTold = entry.lines < ("id" in facts ? LINES_OF_HOST : LINES_OF_KIND);
    if (isTold) entry.lines += 1;
    else entry.held += 1;
    return isTold;
  };
  const level = (name: keyof Logger): Logger["warn"] => {
    const write: (...line: unknown[]) => void = log[name].bind(log);
    return (...line: unknown[]) => {
      if (admits(line)) write(...line);
    };
  };
  return {
    debug: level("debug"),
    info: level("info"),
    warn: level("warn"),
    error: level("error"),
    sweep: () => {
      const before = clock.monotonicMs() - WINDOW_MS;
      for (const [key, entry] of told) if (entry.since <= before) summarize(key, entry);
    },
  };
}

function factsOf([first, second]: readonly unknown[], isHost: (id: string) => boolean): Record<string, unknown> {
  const text = typeof first === "string" ? first : second;
  const of = typeof text === "string" ? text.slice(0, 200) : "";
  const id = typeof first === "object" && first !== null && "id" in first ? first.id : undefined;
  return typeof id === "string" && isHost(id) ? { of, id } : { of };
}
