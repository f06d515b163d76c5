import { sanitise } from "./format/sanitise.ts";

/** What our own lines at the top of the edited file begin with; YAML reads them as comments. */
const MARK = "#~";

/** The text with messages for the editor's reader on top, each line behind `#~`. */
export function withHeader(text: string, messages: readonly string[]): string {
  const lines = messages.flatMap((message) => sanitise(message).split("\n"));
  return `${lines.map((line) => `${MARK} ${line}`.trimEnd()).join("\n")}\n${text}`;
}

/** The text without our lines at its top; lines of that kind further down are the operator's own. */
export function withoutHeader(text: string): string {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => !line.startsWith(MARK));
  return first === -1 ? "" : lines.slice(first).join("\n");
}
