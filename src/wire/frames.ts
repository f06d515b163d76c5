import { PROTOCOL_VERSION } from "./limits.ts";
import { MINION_ID } from "../core/ids.ts";

/** Second byte of each frame; see docs/PROTOCOL.md. */
export const KIND = {
  xx1: 0x01,
  xx2: 0x02,
  xx3: 0x03,
  ik1: 0x04,
  ik2: 0x05,
  data: 0x10,
  hint: 0x7f,
} as const;

export const SESSION_ID_BYTES = 8;
export const DATA_HEADER_BYTES = 2 + SESSION_ID_BYTES + 8;

/** What a hint says. Hints are not authenticated: they may speed things up, never decide. */
export const HINT = { version: 1, unknownSession: 2, unreadableHandshake: 3 } as const;

/** A frame of the request channel, taken apart but not yet believed. Byte fields are views. */
export type Frame =
  | { readonly kind: "xx1" | "ik1"; readonly minionId: string; readonly noise: Buffer }
  | { readonly kind: "xx2" | "xx3" | "ik2"; readonly sessionId: string; readonly noise: Buffer }
  | { readonly kind: "data"; readonly sessionId: string; readonly counter: number; readonly frame: Buffer }
  | { readonly kind: "version-hint"; readonly versions: readonly number[] }
  | { readonly kind: "unknown-session-hint"; readonly sessionId: string }
  | { readonly kind: "unreadable-handshake-hint" };

/** The first frame of a handshake: version, kind, length of the id, the id (ASCII), the Noise message. */
export function encodeOpening(kind: "xx1" | "ik1", minionId: string, noise: Uint8Array): Buffer {
  const id = Buffer.from(minionId, "latin1");
  return Buffer.concat([Uint8Array.of(PROTOCOL_VERSION, KIND[kind], id.length), id, noise]);
}

/** Any later frame of a handshake: version, kind, session id, the Noise message. */
export function encodeHandshake(kind: "xx2" | "xx3" | "ik2", sessionId: string, noise: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(PROTOCOL_VERSION, KIND[kind]), Buffer.from(sessionId, "hex"), noise]);
}

/** A hint in clear. */
export function encodeHint(hint: keyof typeof HINT, sessionId = ""): Buffer {
  const head = Uint8Array.of(PROTOCOL_VERSION, KIND.hint, HINT[hint]);
  if (hint === "version") return Buffer.concat([head, Uint8Array.of(1, PROTOCOL_VERSION)]);
  return Buffer.concat([head, Buffer.from(sessionId, "hex")]);
}

/** Takes a frame apart. Never throws: what is no frame comes back as the reason to drop it. */
export function decodeFrame(frame: Buffer): Frame | "garbage" | "version" {
  const [version, kind] = frame;
  if (version === undefined || kind === undefined) return "garbage";
  // the layout of hints is the same in every version, so that versions can be told apart at all
  if (kind === KIND.hint) return decodeHint(frame);
  if (version !== PROTOCOL_VERSION) return "version";
  switch (kind) {
    case KIND.xx1:
      return decodeOpening("xx1", frame);
    case KIND.ik1:
      return decodeOpening("ik1", frame);
    case KIND.xx2:
      return decodeHandshake("xx2", frame);
    case KIND.xx3:
      return decodeHandshake("xx3", frame);
    case KIND.ik2:
      return decodeHandshake("ik2", frame);
    case KIND.data:
      return decodeData(frame);
    default:
      return "garbage";
  }
}

function decodeOpening(kind: "xx1" | "ik1", frame: Buffer): Frame | "garbage" {
  const end = 3 + (frame[2] ?? 0);
  const minionId = frame.toString("latin1", 3, end);
  if (frame.length <= end || !MINION_ID.test(minionId) || minionId.includes("..")) return "garbage";
  return { kind, minionId, noise: frame.subarray(end) };
}

function decodeHandshake(kind: "xx2" | "xx3" | "ik2", frame: Buffer): Frame | "garbage" {
  const end = 2 + SESSION_ID_BYTES;
  if (frame.length <= end) return "garbage";
  return { kind, sessionId: frame.toString("hex", 2, end), noise: frame.subarray(end) };
}

function decodeData(frame: Buffer): Frame | "garbage" {
  if (frame.length < DATA_HEADER_BYTES) return "garbage";
  const high = frame.readUInt32BE(2 + SESSION_ID_BYTES);
  const counter = high * 2 ** 32 + frame.readUInt32BE(2 + SESSION_ID_BYTES + 4);
  if (!Number.isSafeInteger(counter)) return "garbage";
  return { kind: "data", sessionId: frame.toString("hex", 2, 2 + SESSION_ID_BYTES), counter, frame };
}

function decodeHint(frame: Buffer): Frame | "garbage" {
  const rest = frame.subarray(3);
  switch (frame[2]) {
    case HINT.version:
      return rest.length >= 2 && rest.length === 1 + (rest[0] ?? 0)
        ? { kind: "version-hint", versions: [...rest.subarray(1)] }
        : "garbage";
    case HINT.unknownSession:
      return rest.length === SESSION_ID_BYTES
        ? { kind: "unknown-session-hint", sessionId: rest.toString("hex") }
        : "garbage";
    case HINT.unreadableHandshake:
      return rest.length === 0 ? { kind: "unreadable-handshake-hint" } : "garbage";
    default:
      return "garbage";
  }
}
