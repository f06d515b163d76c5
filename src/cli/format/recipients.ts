/** `one recipient`, `3 recipients`. */
export function recipientsText(count: number): string {
  return count === 1 ? "one recipient" : `${count} recipients`;
}
