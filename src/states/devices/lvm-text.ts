import { ProtocolError } from "../../core/errors.ts";

/** A value of LVM's metadata text. */
export type LvmValue = number | string | readonly LvmValue[] | LvmSection;

/** A section: names to values and further sections. */
export interface LvmSection {
  readonly [name: string]: LvmValue;
}

const TOKEN = /\s+|#[^\n]*|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?)(?![\w.+-])|([A-Za-z0-9_.+-]+)|([{}[\]=,])/uy;
const MAX_DEPTH = 16;

function tokenize(text: string): readonly string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw broken(`unexpected "${text.slice(at, at + 10)}" at ${at}`);
    const token = match[1] ?? match[2] ?? match[3] ?? match[4];
    if (token !== undefined) tokens.push(token);
  }
  return tokens;
}

const broken = (why: string) => new ProtocolError("bad-lvm-text", `cannot read LVM metadata: ${why}`);

/**
 * Parses LVM's configuration text, the form of its on-disk metadata (lvm.conf(5), libdm/libdm-config.c). Throws
 * ProtocolError `bad-lvm-text`.
 */
export function parseLvmText(text: string): LvmSection {
  const tokens = tokenize(text);
  let at = 0;
  const next = (): string => {
    const token = tokens[at];
    if (token === undefined) throw broken("it ends early");
    at += 1;
    return token;
  };
  const value = (depth: number): LvmValue => {
    const token = next();
    if (token.startsWith('"')) return token.slice(1, -1).replaceAll(/\\(.)/gu, "$1");
    if (token === "[") return list(depth + 1);
    if (/^-?\d/u.test(token) && Number.isFinite(Number(token))) return Number(token);
    throw broken(`unexpected "${token}"`);
  };
  const list = (depth: number): readonly LvmValue[] => {
    if (depth > MAX_DEPTH) throw broken("nested too deep");
    const items: LvmValue[] = [];
    while (tokens[at] !== "]") {
      items.push(value(depth));
      if (tokens[at] === ",") at += 1;
    }
    at += 1;
    return items;
  };
  const section = (depth: number, isEnd: () => boolean): LvmSection => {
    if (depth > MAX_DEPTH) throw broken("nested too deep");
    const entries: [string, LvmValue][] = [];
    while (!isEnd()) {
      const name = next();
      const mark = next();
      if (mark === "=") entries.push([name, value(depth)]);
      else if (mark === "{") {
        entries.push([name, section(depth + 1, () => tokens[at] === "}")]);
        at += 1;
      } else throw broken(`unexpected "${mark}" after "${name}"`);
    }
    return Object.fromEntries(entries);
  };
  return section(0, () => at >= tokens.length);
}

/** The section of that name, undefined when there is none or it is no section. */
export function sectionAt(section: LvmSection | undefined, name: string): LvmSection | undefined {
  const value = section && Object.hasOwn(section, name) ? section[name] : undefined;
  return typeof value === "object" && !Array.isArray(value) ? (value as LvmSection) : undefined;
}

/** The text of that name, undefined when there is none. */
export function textAt(section: LvmSection, name: string): string | undefined {
  const value = Object.hasOwn(section, name) ? section[name] : undefined;
  return typeof value === "string" ? value : undefined;
}

/**
 * The number of that name, undefined when there is none; all that LVM counts is whole, from 0, and small enough to be exact in bytes too. Throws ProtocolError
 * `bad-lvm-text` for another number.
 */
export function countAt(section: LvmSection, name: string): number | undefined {
  const value = Object.hasOwn(section, name) ? section[name] : undefined;
  if (typeof value !== "number") return undefined;
  if (Number.isInteger(value) && value >= 0 && value <= 2 ** 44) return value;
  throw broken(`"${name}" is ${value}`);
}
