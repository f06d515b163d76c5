import { ProtocolError } from "../core/errors.ts";
import { z } from "../core/schema.ts";
import { MAX_ITEMS, MAX_MASTER_ITEMS } from "./limits.ts";
import {
  type Method,
  methods,
  type Notice,
  noticeSchema,
  ticketSchema,
  type Request,
  type Response,
} from "./messages.ts";
import { decodeMsgpack, decodeScanned, encodeMsgpack } from "./msgpack.ts";
import { scanMsgpack } from "./msgpack-scan.ts";

/** Why the master did not answer a request; never more than this word. */
export type FailureCode = "refused" | "failed" | "bad-request" | "busy";

/** A request with a method and the body that belongs to it. */
export type AnyRequest = { [M in Method]: { readonly method: M; readonly body: Request<M> } }[Method];

/** What the minion says inside a session: msgpack arrays, the first item tells which. */
export type MinionPacket =
  | { readonly kind: "request"; readonly id: number; readonly request: AnyRequest }
  /** A request whose method or body the schemas refuse, or that cannot be decoded beyond its number. */
  | { readonly kind: "bad-request"; readonly id: number }
  /** A request that was not to be decoded now. */
  | { readonly kind: "held-back"; readonly id: number }
  /** Proves that the minion holds the keys of an IK handshake, so that a replayed opening changes nothing. */
  | { readonly kind: "confirm" };

/** What the master says inside a session. Bodies of answers are checked by whoever knows the method asked. */
export type MasterPacket =
  | { readonly kind: "response"; readonly id: number; readonly body: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly code: FailureCode }
  | { readonly kind: "notice"; readonly notice: Notice }
  | { readonly kind: "verdict"; readonly accepted: boolean; readonly ticket: Uint8Array };

const TYPE = { request: 0, response: 1, failure: 2, confirm: 3, notice: 4, verdict: 5 } as const;

/** How a request begins: an array of four, and its type. Its number follows. */
const REQUEST_HEAD = Uint8Array.of(0x94, TYPE.request);
/** Text of up to 31 bytes: its first byte, less the length. */
const SHORT_TEXT = 0xa0;
/** A minion says nothing else but requests. */
const MAX_CONFIRM_BYTES = 16;
/** Bytes that follow the first one of an unsigned number. */
const UINT_BYTES: ReadonlyMap<number, number> = new Map([1, 2, 4, 8].map((length, at) => [0xcc + at, length]));

const id = z.int().nonnegative();
const fromMinion = z.union([
  z.tuple([z.literal(TYPE.request), id, z.string(), z.unknown()]),
  z.tuple([z.literal(TYPE.confirm)]),
]);
const fromMaster = z.union([
  z.tuple([z.literal(TYPE.response), id, z.unknown()]),
  z.tuple([z.literal(TYPE.failure), id, z.enum(["refused", "failed", "bad-request", "busy"])]),
  z.tuple([z.literal(TYPE.notice), noticeSchema]),
  z.tuple([z.literal(TYPE.verdict), z.boolean(), ticketSchema]),
]);

export function encodeRequest<M extends Method>(requestId: number, method: M, body: Request<M>): Uint8Array {
  return encodeMsgpack([TYPE.request, requestId, method, body]);
}

export function encodeConfirm(): Uint8Array {
  return encodeMsgpack([TYPE.confirm]);
}

export function encodeResponse(requestId: number, body: Response<Method>): Uint8Array {
  return encodeMsgpack([TYPE.response, requestId, body]);
}

export function encodeFailure(requestId: number, code: FailureCode): Uint8Array {
  return encodeMsgpack([TYPE.failure, requestId, code]);
}

export function encodeNotice(notice: Notice): Uint8Array {
  return encodeMsgpack([TYPE.notice, notice]);
}

/** Same length for both verdicts; who is refused gets what looks like a ticket. */
export function encodeVerdict(accepted: boolean, ticket: Uint8Array): Uint8Array {
  return encodeMsgpack([TYPE.verdict, accepted, ticket]);
}

/**
 * Which request a packet claims to be, read from its first bytes alone; undefined when it is none. A method whose name is longer than
 * any of ours is "". Throws ProtocolError `bad-msgpack`, `bad-message` for a request without a number.
 */
export function requestHead(bytes: Uint8Array): { readonly id: number; readonly method: string } | undefined {
  if (!isRequest(bytes)) return undefined;
  const at = numberEnd(bytes);
  const type = bytes[at] ?? 0;
  const isShort = type >= SHORT_TEXT && type < SHORT_TEXT + 32;
  const name = isShort ? bytes.subarray(at + 1, at + 1 + type - SHORT_TEXT) : new Uint8Array();
  return {
    id: requestNumber(bytes),
    method: Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1"),
  };
}

/** Whether a packet that is no request is short enough to be worth reading. */
export function isShortPacket(bytes: Uint8Array): boolean {
  return bytes.length <= MAX_CONFIRM_BYTES;
}

/**
 * A packet from a minion. `mayDecode` hears how many items it has, before anything is made of them. Throws ProtocolError
 * `bad-msgpack`, `bad-message`, `too-many-items`.
 */
export function decodeMinionPacket(
  bytes: Uint8Array,
  mayDecode: (items: number) => boolean = () => true,
): MinionPacket {
  let value: unknown;
  try {
    if (!mayDecode(scanMsgpack(bytes, MAX_ITEMS))) return { kind: "held-back", id: requestNumber(bytes) };
    value = decodeScanned(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError) || !isRequest(bytes)) throw error;
    // too many items, too deep: without an answer a minion would send its return for ever
    return { kind: "bad-request", id: requestNumber(bytes) };
  }
  const packet = check(fromMinion, value);
  if (packet[0] === TYPE.confirm) return { kind: "confirm" };
  const [, requestId, method, body] = packet;
  const request = Object.hasOwn(methods, method) ? parseRequest(method as Method, body) : undefined;
  return request ? { kind: "request", id: requestId, request } : { kind: "bad-request", id: requestId };
}

/** A packet from the master. Throws ProtocolError `bad-msgpack`, `bad-message`, `too-many-items`. */
export function decodeMasterPacket(bytes: Uint8Array): MasterPacket {
  const packet = check(fromMaster, decodeMsgpack(bytes, MAX_MASTER_ITEMS));
  if (packet[0] === TYPE.response) return { kind: "response", id: packet[1], body: packet[2] };
  if (packet[0] === TYPE.failure) return { kind: "failure", id: packet[1], code: packet[2] };
  if (packet[0] === TYPE.notice) return { kind: "notice", notice: packet[1] };
  return { kind: "verdict", accepted: packet[1], ticket: packet[2] };
}

/** The body of an answer to `method`. Throws ProtocolError `bad-message`. */
export function parseResponse<M extends Method>(method: M, body: unknown): Response<M> {
  const schema: z.ZodType = methods[method].response;
  return check(schema, body) as Response<M>;
}

function isRequest([array, type]: Uint8Array): boolean {
  return array === REQUEST_HEAD[0] && type === REQUEST_HEAD[1];
}

/** The number of a request, read without the rest. Throws ProtocolError `bad-msgpack`, `bad-message`. */
function requestNumber(bytes: Uint8Array): number {
  if (!isRequest(bytes)) throw new ProtocolError("bad-message", "cannot accept message: it is no request");
  return check(id, decodeMsgpack(bytes.subarray(REQUEST_HEAD.length, numberEnd(bytes))));
}

function numberEnd(bytes: Uint8Array): number {
  return REQUEST_HEAD.length + 1 + (UINT_BYTES.get(bytes[REQUEST_HEAD.length] ?? 0) ?? 0);
}

function parseRequest(method: Method, body: unknown): AnyRequest | undefined {
  const parsed = methods[method].request.safeParse(body);
  return parsed.success ? ({ method, body: parsed.data } as AnyRequest) : undefined;
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ProtocolError("bad-message", "cannot accept message: it does not match its schema", {
    cause: parsed.error,
  });
}
