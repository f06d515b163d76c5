import { errorMessage, LatchkeyError } from "./errors.ts";

/** The message of an error and its hint, which says what to do next, on a line of its own. */
export function errorText(thrown: unknown): string {
  const hint = thrown instanceof LatchkeyError ? thrown.hint : undefined;
  return hint === undefined ? errorMessage(thrown) : `${errorMessage(thrown)}\nhint: ${hint}`;
}
