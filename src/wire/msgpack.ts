import { Decoder, Encoder } from "@msgpack/msgpack";
import { ProtocolError } from "../core/errors.ts";
import { MAX_ITEMS } from "./limits.ts";
import { scanMsgpack } from "./msgpack-scan.ts";

const encoder = new Encoder({ ignoreUndefined: true });
const decoder = new Decoder();

/** The value as msgpack; `undefined` properties are left out. */
export function encodeMsgpack(value: unknown): Uint8Array {
  return encoder.encode(value);
}

/**
 * One msgpack value that fills the bytes exactly. Binary values are views into `bytes`. Work and memory are bounded by
 * the length of the input and by `maxItems`, nesting by 64. Throws ProtocolError `bad-msgpack` or `too-many-items`,
 * nothing else.
 */
export function decodeMsgpack(bytes: Uint8Array, maxItems = MAX_ITEMS): unknown {
  scanMsgpack(bytes, maxItems);
  return decodeScanned(bytes);
}

/** What `scanMsgpack` has let through. Throws ProtocolError `bad-msgpack`, nothing else. */
export function decodeScanned(bytes: Uint8Array): unknown {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    // the library's own errors (`__proto__` as a key, broken UTF-8) have no common class
    throw new ProtocolError("bad-msgpack", "cannot decode message: not the msgpack we accept", { cause });
  }
}
