import { errorMessage, LatchkeyError } from "../core/errors.ts";

/** The message of an error and its hint, for a return. */
export function errorText(thrown: unknown): string {
  const hint = thrown instanceof LatchkeyError ? thrown.hint : undefined;
  return hint === undefined ? errorMessage(thrown) : `${errorMessage(thrown)}\nhint: ${hint}`;
}
