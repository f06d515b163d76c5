import { Decoder, Encoder } from "@msgpack/msgpack";
import { ProtocolError } from "../core/errors.ts";
import { assertMsgpack } from "./msgpack-scan.ts";

const encoder = new Encoder({ ignoreUndefined: true });
const decoder = new Decoder();

/** The value as msgpack; `undefined` properties are left out. */
export function encodeMsgpack(value: unknown): Uint8Array {
  return encoder.encode(value);
}

/**
 * One msgpack value that fills the bytes exactly. Binary values are views into `bytes`. Work and memory are bounded by
 * the length of the input, nesting by 64. Throws ProtocolError `bad-msgpack`, nothing else.
 */
export function decodeMsgpack(bytes: Uint8Array): unknown {
  assertMsgpack(bytes);
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    // the library's own errors (`__proto__` as a key, broken UTF-8) have no common class
    throw new ProtocolError("bad-msgpack", "cannot decode message: not the msgpack we accept", { cause });
  }
}
