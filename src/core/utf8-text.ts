import { isUtf8 } from "node:buffer";
import { ConfigError } from "./errors.ts";

/**
 * The text of a file that must be UTF-8. Throws ConfigError `not-utf8` with file and line: read leniently, every byte that
 * is not UTF-8 would become another one, without a word.
 */
export function utf8Text(bytes: Uint8Array, file: string): string {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(data)) return data.toString("utf8");
  let line = 1;
  // a line break is never inside of a character
  for (let start = 0; ; line += 1) {
    const end = data.indexOf(0x0a, start);
    if (end === -1 || !isUtf8(data.subarray(start, end))) break;
    start = end + 1;
  }
  throw new ConfigError("not-utf8", `cannot read text: it is not UTF-8 (${file} line ${line})`, {
    hint: "save the file as UTF-8",
    facts: { file, line },
  });
}
