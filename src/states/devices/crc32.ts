import { crc32 } from "node:zlib";

/** zlib inverts its start value and its result; LVM inverts neither. */
const START = ~0xf597a6cf >>> 0;

/**
 * LVM's checksum of labels and metadata: CRC-32 with the reflected polynomial 0xedb88320 from its own initial value
 * 0xf597a6cf, without a final inversion (lib/misc/crc.c).
 */
export function lvmCrc(data: Uint8Array): number {
  return ~crc32(data, START) >>> 0;
}
