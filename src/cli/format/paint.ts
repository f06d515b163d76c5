const CODES = { red: 31, green: 32, yellow: 33, cyan: 36, bold: 1, dim: 2 } as const;

export type Colour = keyof typeof CODES;

/** Puts text in a colour, or returns it as it is. */
export type Paint = (colour: Colour, text: string) => string;

/** Colours each line by itself, so that a pager that cuts lines keeps them right. */
export function paintWith(enabled: boolean): Paint {
  if (!enabled) return (_colour, text) => text;
  return (colour, text) =>
    text
      .split("\n")
      .map((line) => (line === "" ? "" : `\u001b[${CODES[colour]}m${line}\u001b[0m`))
      .join("\n");
}
