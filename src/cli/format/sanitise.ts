/**
 * Characters that could steer the reader's terminal or disguise text: C0 and C1 controls, DEL, line separators, and the
 * directional overrides of Unicode (UAX 9). Newline and tab are left to the caller.
 */
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

const codeOf = (char: string) => (char.codePointAt(0) ?? 0).toString(16);

/** Text from outside, made safe to print over several lines: what could steer a terminal becomes `\x1b`, `\u202e`. */
export function sanitise(text: string): string {
  return text.replaceAll(/\r\n/gu, "\n").replaceAll(UNSAFE, (char) => {
    const code = codeOf(char);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** The same for one line: newlines and tabs are written out too. */
export function sanitiseLine(text: string): string {
  return sanitise(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

/** JSON text with the same characters escaped as JSON escapes them, so that it parses to the same value. */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replaceAll(UNSAFE, (char) => `\\u${codeOf(char).padStart(4, "0")}`);
}
