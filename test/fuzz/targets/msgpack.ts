import { isDeepStrictEqual } from "node:util";
import { ProtocolError } from "../../../src/core/errors.ts";
import { decodeMsgpack, encodeMsgpack } from "../../../src/wire/msgpack.ts";
import { scanMsgpack } from "../../../src/wire/msgpack-scan.ts";
import { promise, promisePlain, type Target } from "../target.ts";

const MAX_ITEMS = 2000;

/** What a value is once it went through our encoder, which has one form for each number. */
const again = (value: unknown) => decodeMsgpack(Buffer.from(encodeMsgpack(value)), MAX_ITEMS);

export const target: Target = {
  covers: ["src/wire/msgpack.ts", "src/wire/msgpack-scan.ts"],
  refusals: [ProtocolError],
  dictionary: [
    "\xc0",
    "\xc1",
    "\xc4\x01",
    "\xd9\x01a",
    "\xdc\x00\x01",
    "\xdd\xff\xff\xff\xff",
    "\xde\x00\x01",
    "\xdf",
    "\xd4",
  ],
  seeds: () =>
    [
      null,
      true,
      [1, -1, 128, -129, 70_000, 2 ** 40, 1.5, "text", Buffer.from("bytes")],
      { a: { b: [{}, [], ""] }, __proto: 1 },
      Array.from({ length: 20 }, (_, index) => index),
      "x".repeat(300),
      Buffer.alloc(300),
    ].map((value) => encodeMsgpack(value)),
  decode: (bytes) => {
    const value = decodeMsgpack(bytes, MAX_ITEMS);
    promise("its items are counted", scanMsgpack(bytes, MAX_ITEMS) <= MAX_ITEMS);
    promisePlain(value);
    const once = again(value);
    promise("what was written reads the same again", isDeepStrictEqual(again(once), once));
  },
};
