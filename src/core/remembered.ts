/**
 * As `make`, which comes to the same for the same text each time: what it made of the texts asked for last is kept, up to so many
 * characters of them. For texts that come again and again from many hosts, and that a hostile one can only push out.
 */
export function rememberedTexts<T>(make: (text: string) => T, maxChars: number): (text: string) => T {
  const made = new Map<string, { readonly value: T }>();
  let chars = 0;
  return (text) => {
    const known = made.get(text);
    const entry = known ?? { value: make(text) };
    // the one asked for last is the last to go
    made.delete(text);
    made.set(text, entry);
    if (known === undefined) chars += text.length;
    for (const oldest of made.keys()) {
      if (chars <= maxChars) break;
      made.delete(oldest);
      chars -= oldest.length;
    }
    return entry.value;
  };
}
