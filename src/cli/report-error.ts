import { errorMessage, LatchkeyError } from "../core/errors.ts";
import { paintWith } from "./format/paint.ts";
import { sanitise } from "./format/sanitise.ts";
import { interruptedStatus } from "./interrupted.ts";
import { type Terminal, wantsColour } from "./terminal.ts";

/**
 * Prints an error as `latchkey: message`, a hint on a line of its own, and returns the exit status for it. An
 * interruption is not printed: the operator knows. Anything that is no LatchkeyError is a defect: 70, with its stack.
 */
export function reportError(error: unknown, terminal: Terminal): number {
  const interrupted = interruptedStatus(error);
  if (interrupted !== undefined) return interrupted;
  const paint = paintWith(wantsColour(terminal.env, terminal.errIsTerminal));
  terminal.warn(`${paint("red", "latchkey:")} ${sanitise(errorMessage(error))}\n`);
  if (error instanceof LatchkeyError) {
    if (error.hint !== undefined) terminal.warn(`${paint("yellow", "hint:")} ${sanitise(error.hint)}\n`);
    return error.exitStatus;
  }
  if (error instanceof Error && error.stack !== undefined) terminal.warn(`${sanitise(error.stack)}\n`);
  return 70;
}
