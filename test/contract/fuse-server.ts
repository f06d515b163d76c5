import { readSync, writeSync } from "node:fs";

/**
 * A file system in user space, on the descriptor 3 of /dev/fuse that mount(8) was given: every name in it is a directory of root's.
 * Source: linux/fuse.h, version 7.31.
 */
const [LOOKUP, FORGET, GETATTR, INIT, BATCH_FORGET] = [1, 2, 3, 26, 42];
const ENOSYS = -38;
const ATTRIBUTES_BYTES = 88;

function attributes(node: bigint): Buffer {
  const bytes = Buffer.alloc(ATTRIBUTES_BYTES);
  bytes.writeBigUInt64LE(node, 0);
  bytes.writeUInt32LE(0o40755, 60);
  bytes.writeUInt32LE(2, 64);
  return bytes;
}

function answerTo(opcode: number, node: bigint): Buffer | undefined {
  if (opcode === INIT) {
    const version = Buffer.alloc(64);
    version.writeUInt32LE(7, 0);
    version.writeUInt32LE(31, 4);
    version.writeUInt32LE(4096, 20);
    return version;
  }
  if (opcode === GETATTR) return Buffer.concat([Buffer.alloc(16), attributes(node)]);
  if (opcode !== LOOKUP) return undefined;
  const entry = Buffer.alloc(40);
  entry.writeBigUInt64LE(node + 1n, 0);
  return Buffer.concat([entry, attributes(node + 1n)]);
}

const request = Buffer.alloc(1024 * 1024);
for (;;) {
  try {
    readSync(3, request);
  } catch (error) {
    // unmounted
    if (error instanceof Error && "code" in error && error.code === "ENODEV") break;
    continue;
  }
  const opcode = request.readUInt32LE(4);
  if (opcode === FORGET || opcode === BATCH_FORGET) continue;
  const body = answerTo(opcode, request.readBigUInt64LE(16));
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + (body?.length ?? 0), 0);
  head.writeInt32LE(body === undefined ? ENOSYS : 0, 4);
  head.writeBigUInt64LE(request.readBigUInt64LE(8), 8);
  writeSync(3, body === undefined ? head : Buffer.concat([head, body]));
}
