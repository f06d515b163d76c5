import { ProtocolError } from "./errors.ts";

const CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const VALUES = new Int8Array(128).fill(-1);
for (const [value, letter] of Array.from(CHARSET).entries()) VALUES[letter.charCodeAt(0)] = value;
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3] as const;
const CHECKSUM_LENGTH = 6;

function step(checksum: number, value: number): number {
  const top = checksum >>> 25;
  const next = ((checksum & 0x1ffffff) << 5) ^ value;
  return GENERATOR.reduce((sum, generator, bit) => ((top >> bit) & 1 ? sum ^ generator : sum), next);
}

function startOf(prefix: string): number {
  const codes = Buffer.from(prefix, "latin1");
  const high = codes.reduce((sum, code) => step(sum, code >> 5), 1);
  return codes.reduce((sum, code) => step(sum, code & 31), step(high, 0));
}

/** Groups of `from` bits to groups of `to` bits; undefined when what is left over is not zero padding. */
function regroup(source: Uint8Array, from: number, to: number, pad: "pad" | "strict"): Buffer | undefined {
  const bits = source.length * from;
  const out = Buffer.alloc(pad === "pad" ? Math.ceil(bits / to) : Math.floor(bits / to));
  let window = 0;
  let held = 0;
  let length = 0;
  for (const group of source) {
    window = ((window << from) | group) & 0xfff;
    held += from;
    while (held >= to) {
      held -= to;
      out[length] = (window >> held) & ((1 << to) - 1);
      length += 1;
    }
  }
  const rest = window & ((1 << held) - 1);
  if (pad === "pad" && held > 0) out[length] = (rest << (to - held)) & ((1 << to) - 1);
  const clean = pad === "pad" || (held < from && rest === 0);
  if (clean) return out;
  out.fill(0);
  return undefined;
}

/**
 * Bech32 as age writes keys (BIP 173 without its limit of 90 characters): lower-case ASCII in a buffer, because a private
 * key must be wiped after use and a string cannot be.
 */
export function encodeBech32(prefix: string, data: Uint8Array): Buffer {
  const words = regroup(data, 8, 5, "pad") ?? Buffer.alloc(0);
  let checksum = words.reduce(step, startOf(prefix));
  for (let index = 0; index < CHECKSUM_LENGTH; index += 1) checksum = step(checksum, 0);
  const out = Buffer.alloc(prefix.length + 1 + words.length + CHECKSUM_LENGTH);
  out.write(`${prefix}1`, "latin1");
  const body = out.subarray(prefix.length + 1);
  for (const [index, word] of words.entries()) body[index] = CHARSET.charCodeAt(word);
  for (let index = 0; index < CHECKSUM_LENGTH; index += 1) {
    body[words.length + index] = CHARSET.charCodeAt(((checksum ^ 1) >>> (5 * (CHECKSUM_LENGTH - 1 - index))) & 31);
  }
  words.fill(0);
  return out;
}

/**
 * The bytes behind a bech32 text of this prefix, all upper or all lower case. Throws ProtocolError `bad-bech32`; the
 * message never holds the text, which may be a private key.
 */
export function decodeBech32(prefix: string, text: Uint8Array): Buffer {
  const ascii = Buffer.from(text);
  const upper = ascii.some((code) => code >= 65 && code <= 90);
  const lower = ascii.some((code) => code >= 97 && code <= 122);
  for (const [index, code] of ascii.entries()) if (code >= 65 && code <= 90) ascii[index] = code + 32;
  const words = Buffer.from(ascii.subarray(prefix.length + 1));
  const known = ascii.subarray(0, prefix.length + 1).equals(Buffer.from(`${prefix.toLowerCase()}1`));
  for (const [index, code] of words.entries()) words[index] = VALUES[code] ?? -1;
  const valid = known && !(upper && lower) && words.length >= CHECKSUM_LENGTH && words.every((word) => word < 32);
  const right = valid && words.reduce(step, startOf(prefix.toLowerCase())) === 1;
  const data = right ? regroup(words.subarray(0, -CHECKSUM_LENGTH), 5, 8, "strict") : undefined;
  ascii.fill(0);
  words.fill(0);
  if (data) return data;
  throw new ProtocolError("bad-bech32", `cannot read a "${prefix}1…" text: damaged or not such a text`);
}
