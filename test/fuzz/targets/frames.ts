import {
  decodeFrame,
  encodeCookieHint,
  encodeHandshake,
  encodeHint,
  encodeOpening,
  type Frame,
} from "../../../src/wire/frames.ts";
import { promise, type Target } from "../target.ts";

const filled = (byte: number, length = 32) => Buffer.alloc(length, byte);
const SESSION = "0102030405060708";

function encoded(frame: Frame): Buffer | undefined {
  switch (frame.kind) {
    case "xx1":
    case "ik1":
      return encodeOpening(frame.kind, frame.minionId, frame.noise, frame);
    case "xx2":
    case "xx3":
    case "ik2":
      return encodeHandshake(frame.kind, frame.sessionId, frame.noise);
    case "unknown-session-hint":
      return encodeHint("unknownSession", frame.sessionId);
    case "unreadable-handshake-hint":
      return encodeHint("unreadableHandshake");
    case "cookie-hint":
      return encodeCookieHint(frame.cookie);
    case "version-hint":
    case "data":
      // the first tells what another version wrote, the second is a frame as it is
      return undefined;
    default:
      return frame satisfies never;
  }
}

export const target: Target = {
  covers: ["src/wire/frames.ts"],
  refusals: [],
  seeds: () => [
    encodeOpening("xx1", "web1", filled(8)),
    encodeOpening("ik1", "web1.example.com", filled(8), { ticket: filled(1, 20), cookie: filled(2, 16) }),
    encodeHandshake("xx2", SESSION, filled(9)),
    encodeHandshake("xx3", SESSION, filled(9)),
    encodeHandshake("ik2", SESSION, filled(9)),
    encodeHint("version"),
    encodeHint("unknownSession", SESSION),
    encodeHint("unreadableHandshake"),
    encodeCookieHint(filled(3, 16)),
    Buffer.concat([Buffer.of(1, 0x10), filled(0, 16), filled(7)]),
  ],
  decode: (bytes) => {
    const frame = decodeFrame(bytes);
    if (typeof frame === "string") return;
    const again = encoded(frame);
    // hints may carry any version in front
    if (again) promise("a frame has one form", again.subarray(1).equals(bytes.subarray(1)));
  },
};
