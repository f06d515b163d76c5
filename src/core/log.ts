import { type DestinationStream, type Logger as PinoLogger, pino } from "pino";
import { standardError } from "./log-output.ts";

/** What writes the lines. It has no children: their bindings would pass the mask by. */
export type Logger = Pick<PinoLogger, "debug" | "info" | "warn" | "error">;

const MASK = "[secret]";
const NAMES: readonly string[] = ["key", "secret", "password", "passphrase"];

/**
 * A logger that writes JSON lines to standard error (the journal's place). Secrets cannot reach it by type
 * (`Secret.toJSON` is a mask); masking what has one of their names, in a line's own members and in theirs, is the second
 * fence. By hand, because pino's redaction of `*.key` takes longer than all the rest of a line.
 */
export function createLogger(name: string, level: string, destination?: DestinationStream): Logger {
  return pino(
    {
      name,
      level,
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { log: maskLine },
      serializers: { err: (error: Error) => maskMembers(pino.stdSerializers.err(error)) },
    },
    destination ?? standardError(name),
  );
}

function maskLine(line: Record<string, unknown>): Record<string, unknown> {
  const safe = { ...maskMembers(line) };
  for (const name in safe) {
    const value = safe[name];
    // errors are masked when their serializer has made them plain
    if (typeof value === "object" && value !== null && !(value instanceof Error)) safe[name] = maskMembers(value);
  }
  return safe;
}

/** The object itself, or when one of its members has the name of a secret, a copy without what that holds. */
function maskMembers<T extends object>(value: T): T {
  const found = NAMES.filter((name) => Object.hasOwn(value, name));
  if (found.length === 0) return value;
  return { ...value, ...Object.fromEntries(found.map((name) => [name, MASK])) };
}
