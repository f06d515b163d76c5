/** Flags of a ZMTP 3 frame (ZeroMQ RFC 23): more parts follow, the size has 8 bytes in place of 1, a command and no message. */
export const FLAG = { more: 0x01, long: 0x02, command: 0x04 } as const;

/** Most bytes before a frame's body. */
export const MAX_HEAD_BYTES = 9;

const SHORT_HEAD_BYTES = 2;
const MAX_SHORT = 255;

/** Bytes before the body of a frame with these flags. */
export function headBytes(flags: number): number {
  return (flags & FLAG.long) === 0 ? SHORT_HEAD_BYTES : MAX_HEAD_BYTES;
}

/** What stands before the one part of a message of so many bytes. */
export function encodeMessageHead(length: number): Buffer {
  return encodeHead(0, length);
}

/** A command frame: its name, then its data. */
export function encodeCommand(name: string, data: Uint8Array): Buffer {
  const head = encodeHead(FLAG.command, 1 + name.length + data.length);
  return Buffer.concat([head, Uint8Array.of(name.length), Buffer.from(name, "latin1"), data]);
}

function encodeHead(flags: number, length: number): Buffer {
  if (length <= MAX_SHORT) return Buffer.from([flags, length]);
  const head = Buffer.alloc(MAX_HEAD_BYTES);
  head[0] = flags | FLAG.long;
  head.writeBigUInt64BE(BigInt(length), 1);
  return head;
}
