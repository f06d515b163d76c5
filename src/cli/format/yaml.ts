import { isJsonObject, type Json } from "../../core/json.ts";
import { safeJson } from "./sanitise.ts";

/** Words that some YAML version reads as something else than text (YAML 1.1 and 1.2). */
const RESERVED = /^(?:y|n|yes|no|on|off|true|false|null|nan|inf|none)$/iu;
/** Text that needs no quotes in any YAML: starts with a letter or slash, no special character, no trailing blank. */
const PLAIN = /^[A-Za-z_/](?:[A-Za-z0-9_./@+-]|:(?=[A-Za-z0-9_./@+-])| (?=[A-Za-z0-9_./@+-]))*$/u;
/** Text for a literal block: printable lines, the first not indented, at most one newline at the end. */
const LITERAL = /^(?![ \n])(?:[\t\u0020-\u007e\u00a0-\u1fff]*\n)+[\t\u0020-\u007e\u00a0-\u1fff]*$/u;

const scalar = (text: string) => (PLAIN.test(text) && !RESERVED.test(text) ? text : safeJson(text));

function literal(text: string, indent: string): string | undefined {
  if (!LITERAL.test(text) || text.endsWith("\n\n") || /[ \t](?:\n|$)/u.test(text) || text.includes("\t"))
    return undefined;
  const body = text.endsWith("\n") ? text.slice(0, -1) : text;
  const lines = body.split("\n").map((line) => (line === "" ? "" : `${indent}${line}`));
  return `${text.endsWith("\n") ? "|" : "|-"}\n${lines.join("\n")}\n`;
}

/** What stands behind `key:` or `-`: on the same line, or from the next on. */
function after(value: Json, indent: string): string {
  if (Array.isArray(value) && value.length > 0) {
    return `\n${value.map((item) => `${indent}-${afterDash(item, indent)}`).join("")}`;
  }
  if (isJsonObject(value) && Object.keys(value).length > 0) return `\n${block(value, indent)}`;
  if (typeof value === "string") return ` ${literal(value, indent === "" ? "  " : indent) ?? `${scalar(value)}\n`}`;
  return ` ${safeJson(value)}\n`;
}

function afterDash(value: Json, indent: string): string {
  const deeper = `${indent}  `;
  // a mapping in a list starts on the dash's own line
  if (isJsonObject(value) && Object.keys(value).length > 0) return ` ${block(value, deeper).slice(deeper.length)}`;
  return after(value, deeper);
}

function block(value: Readonly<Record<string, Json>>, indent: string): string {
  return Object.entries(value)
    .map(([key, item]) => {
      const name = key.length > 120 ? `? ${scalar(key)}\n${indent}:` : `${scalar(key)}:`;
      return `${indent}${name}${after(item, Array.isArray(item) ? indent : `${indent}  `)}`;
    })
    .join("");
}

/**
 * YAML of plain data that every YAML reader, 1.1 or 1.2, parses back to the same value: block style, quotes wherever
 * they could matter, control characters escaped. Ends with a newline.
 */
export function yamlText(value: Json): string {
  if (isJsonObject(value) && Object.keys(value).length > 0) return block(value, "");
  return after(value, "").replace(/^[ \n]/u, "");
}
