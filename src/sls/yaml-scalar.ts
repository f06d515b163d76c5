import type { Json } from "../core/json.ts";

const TRUE = /^(?:true|True|TRUE|yes|Yes|YES|on|On|ON)$/u;
const FALSE = /^(?:false|False|FALSE|no|No|NO|off|Off|OFF)$/u;
const NULL = /^(?:~|null|Null|NULL|)$/u;
const DECIMAL = /^[-+]?\d[\d_]*$/u;
const HEX = /^([-+]?)0x([\dA-Fa-f_]+)$/u;
const BINARY = /^([-+]?)0b([01_]+)$/u;
const FLOAT = /^[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?$/u;

function radix(match: RegExpExecArray, base: number): number {
  const value = Number.parseInt((match[2] ?? "").replaceAll("_", ""), base);
  return match[1] === "-" ? -value : value;
}

/**
 * What a plain YAML scalar means, as Salt reads it (PyYAML's YAML 1.1 with Salt's own integers): `yes`, `no`, `on` and
 * `off` are booleans, a leading zero does not make a number octal (`0644` is 644), `0x` and `0b` are read. Dates and
 * `12:30` stay text, and so do numbers that JSON cannot hold exactly.
 */
export function resolvePlain(text: string): Json {
  if (NULL.test(text)) return null;
  const first = text.charCodeAt(0);
  // letters above "9" start words alone; most scalars end here
  if (first > 57 || first === 47) {
    if (TRUE.test(text)) return true;
    if (FALSE.test(text)) return false;
    return text;
  }
  if (DECIMAL.test(text)) {
    const value = Number(text.replaceAll("_", ""));
    return Number.isSafeInteger(value) ? value : text;
  }
  const hex = HEX.exec(text);
  if (hex) return radix(hex, 16);
  const binary = BINARY.exec(text);
  if (binary) return radix(binary, 2);
  if (FLOAT.test(text)) {
    const value = Number(text.replaceAll("_", ""));
    return Number.isFinite(value) ? value : text;
  }
  return text;
}
