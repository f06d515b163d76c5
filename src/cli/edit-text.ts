import { sanitise } from "./format/sanitise.ts";

/** What our own lines at the top of the edited file begin with; YAML reads them as comments. */
const MARK = "#~";
const KEY = /^\s*(?:-\s+)*([\w.-]+)\s*:(?:\s|$)/u;

/** The text with messages for the editor's reader on top, each line behind `#~`. */
export function withHeader(text: string, messages: readonly string[]): string {
  const lines = messages.flatMap((message) => sanitise(message).split("\n"));
  return `${lines.map((line) => `${MARK} ${line}`.trimEnd()).join("\n")}\n${text}`;
}

/**
 * An error's message with the line that the editor shows in place of the file's: `headerLines` further down, and with the key
 * on it, never a value. As it is when the error is about no line of this file.
 */
export function messageInEditor(
  { message, facts }: { readonly message: string; readonly facts: Readonly<Record<string, unknown>> },
  file: string,
  text: string,
  headerLines: number,
): string {
  const { line } = facts;
  if (facts["file"] !== file || typeof line !== "number") return message;
  const key = KEY.exec(text.split("\n", line)[line - 1] ?? "")?.[1];
  const here = `line ${line + headerLines}${key === undefined ? "" : `, "${key}:"`}`;
  return message.replace(`${file} line ${line}`, () => here);
}

/** The text without our lines at its top; lines of that kind further down are the operator's own. */
export function withoutHeader(text: string): string {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => !line.startsWith(MARK));
  return first === -1 ? "" : lines.slice(first).join("\n");
}
