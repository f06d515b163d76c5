/** A text made from a template, and where its lines come from. */
export interface Rendered {
  readonly rendered: string;
  /** The line of the template that a line of the rendered text was written on; both count from 1. */
  readonly sourceLine: (line: number) => number;
}

type Content = hbs.AST.ContentStatement;

/** Neither YAML nor a template can hold these characters, so a mark is never anything else. */
const MARK = /\0(\d+)\0/gu;
/** The line's own mark: the last of those that it begins with (a block ended there), else the first inside of it. */
const OWN_MARK = /^(?:\0\d+\0)*\0(\d+)\0|\0(\d+)\0/u;
const mark = (line: number) => `\0${line}\0`;

/** Whether a text can be marked at all. */
export const isMarkable = (text: string): boolean => !text.includes("\0");

/** Writes into each line of a template's own text which line it is, for `takeMarks`. */
export function markContent(statement: Content): void {
  const { value, loc } = statement;
  if (value === "") return;
  // text, whatever the types say
  const original = statement.original as unknown as string;
  // what stands before it was taken off with the line of a block
  const before = original.slice(0, Math.max(0, original.lastIndexOf(value)));
  let line = loc.start.line + before.split("\n").length - 1;
  statement.value = mark(line) + value.replaceAll("\n", () => `\n${mark((line += 1))}`);
}

/** Takes the marks out of what was rendered. A line without one (of a value with several lines) counts as that before it. */
export function takeMarks(marked: string): Rendered {
  const sources: number[] = [];
  let source = 1;
  const lines = marked.split("\n").map((line) => {
    const own = OWN_MARK.exec(line);
    source = Number(own?.[1] ?? own?.[2] ?? source);
    sources.push(source);
    return line.replaceAll(MARK, "");
  });
  return { rendered: lines.join("\n"), sourceLine: (line) => sources[line - 1] ?? source };
}

/** A text that is no template: its lines are its own. */
export const unmarked = (text: string): Rendered => ({ rendered: text, sourceLine: (line) => line });
