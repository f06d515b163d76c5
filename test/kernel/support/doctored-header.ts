import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import type { JsonObject } from "../../../src/core/json.ts";

/** Which copies of a header are changed. */
export type Copies = "both" | "first" | "second";

const COPY = 0x4000;
/** Everything before the data that our own formats leave. */
const HEADER = 2 * 1024 * 1024;

/** The bytes of a device before its data, to be put back later. */
export function takeHeader(device: string): Buffer {
  const file = openSync(device, "r");
  const bytes = Buffer.alloc(HEADER);
  readSync(file, bytes, 0, HEADER, 0);
  closeSync(file);
  return bytes;
}

export function putHeader(device: string, bytes: Buffer): void {
  const file = openSync(device, "r+");
  writeSync(file, bytes, 0, bytes.length, 0);
  closeSync(file);
}

/** A header (both copies) as who had the disk rewrites it: another JSON area, a higher number, checksums that are right. */
export function doctored(header: Buffer, edit: (metadata: JsonObject) => void, copies: Copies = "both"): Buffer {
  const bytes = Buffer.from(header);
  for (const at of copies === "both" ? [0, COPY] : [copies === "first" ? 0 : COPY]) {
    const copy = bytes.subarray(at, at + COPY);
    const metadata = JSON.parse(copy.subarray(4096).toString("utf8").replace(/\0.*$/su, "")) as JsonObject;
    edit(metadata);
    copy.fill(0, 4096);
    copy.write(JSON.stringify(metadata), 4096);
    if (copies !== "second") copy.writeBigUInt64BE(copy.readBigUInt64BE(16) + 1n, 16);
    copy.fill(0, 448, 512);
    createHash("sha256").update(copy).digest().copy(copy, 448);
  }
  return bytes;
}
