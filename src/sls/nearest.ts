import { closest, distance } from "fastest-levenshtein";

/**
 * The known name that was probably meant by `written`, for a message: undefined when nothing is near (more than a third
 * of the letters differ, or there is nothing to choose from).
 */
export function nearest(written: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  const best = closest(written, known);
  const limit = Math.max(1, Math.ceil(Math.max(written.length, best.length) / 3));
  return distance(written, best) <= limit ? best : undefined;
}

/** `, did you mean "x"?` for the end of a message, or "" when nothing is near. */
export function didYouMean(written: string, known: readonly string[]): string {
  const name = nearest(written, known);
  return name === undefined ? "" : `, did you mean "${name}"?`;
}
