import { createHash } from "node:crypto";
import type { JsonObject } from "../../src/core/json.ts";

const SIZE = 0x4000;

/** The start of a LUKS2 device: both header copies, sound, as the LUKS2 On-Disk Format Specification 1.1 lays them out. */
export function luks2Bytes(uuid: string, metadata: JsonObject): Buffer {
  const copy = (at: number): Buffer => {
    const bytes = Buffer.alloc(SIZE);
    bytes.write(at === 0 ? "LUKS" : "SKUL", 0, "latin1");
    bytes.writeUInt16BE(0xbabe, 4);
    bytes.writeUInt16BE(2, 6);
    bytes.writeBigUInt64BE(BigInt(SIZE), 8);
    bytes.writeBigUInt64BE(3n, 16);
    bytes.write("sha256", 72);
    bytes.write(uuid, 168);
    bytes.writeBigUInt64BE(BigInt(at), 256);
    bytes.write(JSON.stringify(metadata), 4096);
    createHash("sha256").update(bytes).digest().copy(bytes, 448);
    return bytes;
  };
  return Buffer.concat([copy(0), copy(SIZE), Buffer.alloc(SIZE)]);
}
