import { MINION_ID } from "../core/ids.ts";
import { COOKIE_BYTES, PROTOCOL_VERSION, TICKET_BYTES } from "./limits.ts";

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
export const HINT = { version: 1, unknownSession: 2, unreadableHandshake: 3, cookie: 4 } as const;

/** The first frame of a handshake. Ticket and cookie are empty when it has none. */
export interface Opening {
  readonly kind: "xx1" | "ik1";
  readonly minionId: string;
  readonly ticket: Buffer;
  readonly cookie: Buffer;
  readonly noise: Buffer;
}

/** A frame of the request channel, taken apart but not yet believed. Byte fields are views. */
export type Frame =
  | Opening
  | { readonly kind: "xx2" | "xx3" | "ik2"; readonly sessionId: string; readonly noise: Buffer }
  | { readonly kind: "data"; readonly sessionId: string; readonly counter: number; readonly frame: Buffer }
  | { readonly kind: "version-hint"; readonly versions: readonly number[] }
  | { readonly kind: "unknown-session-hint"; readonly sessionId: string }
  | { readonly kind: "unreadable-handshake-hint" }
  | { readonly kind: "cookie-hint"; readonly cookie: Buffer };

const NOTHING = new Uint8Array(0);

/**
 * The first frame of a handshake: version, kind, then behind its length in one byte each the id (ASCII), the ticket and the
 * cookie, then the Noise message.
 */
export function encodeOpening(
  kind: "xx1" | "ik1",
  minionId: string,
  noise: Uint8Array,
  { ticket = NOTHING, cookie = NOTHING }: { readonly ticket?: Uint8Array; readonly cookie?: Uint8Array } = {},
): Buffer {
  const fields = [Buffer.from(minionId, "latin1"), ticket, cookie];
  const framed = fields.flatMap((field) => [Uint8Array.of(field.length), field]);
  return Buffer.concat([Uint8Array.of(PROTOCOL_VERSION, KIND[kind]), ...framed, noise]);
}

/** Any later frame of a handshake: version, kind, session id, the Noise message. */
export function encodeHandshake(kind: "xx2" | "xx3" | "ik2", sessionId: string, noise: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(PROTOCOL_VERSION, KIND[kind]), Buffer.from(sessionId, "hex"), noise]);
}

/** A hint in clear. */
export function encodeHint(hint: Exclude<keyof typeof HINT, "cookie">, sessionId = ""): Buffer {
  const head = Uint8Array.of(PROTOCOL_VERSION, KIND.hint, HINT[hint]);
  if (hint === "version") return Buffer.concat([head, Uint8Array.of(1, PROTOCOL_VERSION)]);
  return Buffer.concat([head, Buffer.from(sessionId, "hex")]);
}

/** The hint that asks for the same opening once more, with this cookie. */
export function encodeCookieHint(cookie: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(PROTOCOL_VERSION, KIND.hint, HINT.cookie), cookie]);
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
  const fields: Buffer[] = [];
  let at = 2;
  for (const allowed of [undefined, TICKET_BYTES, COOKIE_BYTES]) {
    const length = frame[at] ?? 0;
    const end = at + 1 + length;
    if (frame.length <= end || (length > 0 && allowed !== undefined && length !== allowed)) return "garbage";
    fields.push(frame.subarray(at + 1, end));
    at = end;
  }
  const [id, ticket, cookie] = fields;
  const minionId = id?.toString("latin1") ?? "";
  if (!ticket || !cookie || !MINION_ID.test(minionId) || minionId.includes("..")) return "garbage";
  return { kind, minionId, ticket, cookie, noise: frame.subarray(at) };
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
    case HINT.cookie:
      return rest.length === COOKIE_BYTES ? { kind: "cookie-hint", cookie: rest } : "garbage";
    case HINT.unreadableHandshake:
      return rest.length === 0 ? { kind: "unreadable-handshake-hint" } : "garbage";
    default:
      return "garbage";
  }
}
