import type { ControlClient } from "./control-client.ts";
import { type Paint, paintWith } from "./format/paint.ts";
import type { Terminal } from "./terminal.ts";

/** What every command of the command line works with. */
export interface Context {
  readonly terminal: Terminal;
  readonly client: ControlClient;
  readonly paint: Paint;
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal;
  /** Wall-clock milliseconds. */
  readonly now: () => number;
}

/** A context for a terminal and a client. */
export function contextOf(terminal: Terminal, client: ControlClient, signal: AbortSignal): Context {
  return { terminal, client, paint: paintWith(terminal.colour), signal, now: () => Date.now() };
}
