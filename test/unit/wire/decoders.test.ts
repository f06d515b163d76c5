import { encode } from "@msgpack/msgpack";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ProtocolError } from "../../../src/core/errors.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { decodeFrame, encodeCookieHint, encodeHandshake, encodeHint, encodeOpening } from "../../../src/wire/frames.ts";
import { openJob, signJob } from "../../../src/wire/job-envelope.ts";
import type { Job } from "../../../src/wire/messages.ts";
import { decodeMsgpack, encodeMsgpack } from "../../../src/wire/msgpack.ts";
import {
  decodeMasterPacket,
  decodeMinionPacket,
  encodeNotice,
  encodeRequest,
  encodeVerdict,
} from "../../../src/wire/packets.ts";

const anyBytes = fc.uint8Array({ maxLength: 300 });
const sessionId = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("hex"));
const noise = fc.uint8Array({ minLength: 1, maxLength: 300 });
const minionId = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,40}$/u);

const job: Job = {
  jid: "20260101000000000000",
  seq: 7,
  issuedAt: 1_767_225_600_000,
  fun: "test.ping",
  args: [],
  kwargs: {},
  target: { kind: "ids", ids: ["web1", "web2"] },
};

/** Runs a decoder; true when it accepted, false when it threw a ProtocolError. Anything else it throws is a failure. */
function accepts(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

test("lesson: 2023-20897 random bytes never crash a decoder", () => {
  const masterKey = generateIdentity().public.signKey;
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      decodeFrame(Buffer.from(bytes));
      accepts(() => decodeMsgpack(bytes));
      accepts(() => decodeMinionPacket(bytes));
      accepts(() => decodeMasterPacket(bytes));
      expect(openJob(bytes, masterKey)).toBeUndefined();
    }),
    { numRuns: 2000 },
  );
});

test("msgpack: decode(encode(x)) = x", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      fc.pre(!JSON.stringify(value).includes("__proto__") && !JSON.stringify(value).includes("-0"));
      expect(JSON.stringify(decodeMsgpack(encodeMsgpack(value)))).toBe(JSON.stringify(value));
    }),
  );
});

test("msgpack: whatever the library encodes, cut short or followed by a byte, is refused", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), fc.nat(), (value, cut) => {
      const whole = encode(value);
      expect(accepts(() => decodeMsgpack(whole.subarray(0, cut % whole.length)))).toBe(false);
      expect(accepts(() => decodeMsgpack(Buffer.concat([whole, Buffer.of(0xc0)])))).toBe(false);
    }),
  );
});

test.each([
  ["an array that claims four billion items", "ddffffffff"],
  ["a map that claims four billion items", "dfffffffff"],
  ["arrays in arrays, each claiming all that follows", "dd00000040".repeat(13)],
  ["deep nesting", "91".repeat(5000)],
  ["an extension type", "d60100000000"],
  ["a timestamp", "d6ff00000000"],
  ["a type that does not exist", "c1"],
  ["a prototype as key", `81a9${Buffer.from("__proto__").toString("hex")}80`],
  ["nothing", ""],
])("msgpack bounded: %s is refused", (_what, hex) => {
  expect(accepts(() => decodeMsgpack(Buffer.from(hex, "hex")))).toBe(false);
});

const state = {
  __id__: "x",
  __sls__: "web",
  __run_num__: 1,
  __state_ran__: true,
  name: "/etc/x",
  result: true,
  changes: { mode: { old: "0600", new: "0644" }, user: { old: "root", new: "web" } },
  comment: "",
  start_time: "00:00:00.000000",
  duration: 1,
};
const returned = (data: unknown) => ({
  jid: job.jid,
  fun: "state.apply",
  success: true,
  retcode: 0,
  startedAt: 1,
  finishedAt: 2,
  startup: false,
  data,
});

test.each([
  ["400,000 empty byte strings", 400_000, "c400"],
  ["1,000,000 empty maps", 1_000_000, "80"],
  ["what no decoder would take", 200_000, "c1"],
])("lesson: a message is refused for its number of items before any of them is looked at: %s", (_what, count, item) => {
  const list = Buffer.concat([Buffer.from("dd00000000", "hex"), Buffer.from(item.repeat(count), "hex")]);
  list.writeUInt32BE(count, 1);
  expect(() => decodeMsgpack(list)).toThrow(expect.objectContaining({ code: "too-many-items" }));
  for (const id of [0, 127, 128, 255, 65_535, 65_536, 2 ** 32]) {
    const frame = Buffer.concat([encodeMsgpack([0, id, "return"]), list]);
    frame[0] = 0x94;
    expect(decodeMinionPacket(frame)).toEqual({ kind: "bad-request", id });
  }
});

test("a message of too many items that is no request has no answer", () => {
  const list = encodeMsgpack(Array.from({ length: 200_001 }, () => 0));
  expect(accepts(() => decodeMinionPacket(list))).toBe(false);
  expect(accepts(() => decodeMinionPacket(Buffer.concat([Buffer.of(0x94, 0, 0xa0), list])))).toBe(false);
});

test.each([
  ["a run of 1,000 states", () => Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`file_|-${at}`, state]))],
  ["a list of 150,000 files", () => Array.from({ length: 150_000 }, (_, at) => `/srv/${at}`)],
  ["7 MB of text", () => "x".repeat(7_000_000)],
])("the return of %s fits", (_what, data) => {
  expect(decodeMinionPacket(encodeMsgpack([0, 1, "return", returned(data())])).kind).toBe("request");
});

test("the list of 30,000 files of a master fits", () => {
  const files = Array.from({ length: 30_000 }, (_, at) => ({ path: `/${at}`, size: 1, sha256: "" }));
  expect(decodeMasterPacket(encodeMsgpack([1, 7, { files }])).kind).toBe("response");
});

test("a request that is not to be decoded now is told by its number alone", () => {
  const counted: number[] = [];
  const decode = (value: unknown) =>
    decodeMinionPacket(encodeMsgpack(value), (items) => {
      counted.push(items);
      return false;
    });
  expect(decode([0, 300, "return", { data: [1, 2] }])).toEqual({ kind: "held-back", id: 300 });
  expect(counted).toEqual([9]);
  expect(accepts(() => decode([3]))).toBe(false);
});

test("bytes in a return are a bad request", () => {
  const body = returned(Array.from({ length: 150_000 }, () => new Uint8Array()));
  expect(decodeMinionPacket(encodeMsgpack([0, 1, "return", body]))).toEqual({ kind: "bad-request", id: 1 });
});

test("frames: decode(encode(x)) = x", () => {
  fc.assert(
    fc.property(minionId, sessionId, noise, (id, session, message) => {
      const opening = decodeFrame(encodeOpening("ik1", id, message));
      const none = { ticket: Buffer.alloc(0), cookie: Buffer.alloc(0) };
      expect(opening).toEqual({ kind: "ik1", minionId: id, ...none, noise: Buffer.from(message) });
      const shown = { ticket: Buffer.alloc(20, 1), cookie: Buffer.alloc(16, 2) };
      const full = decodeFrame(encodeOpening("xx1", id, message, shown));
      expect(full).toEqual({ kind: "xx1", minionId: id, ...shown, noise: Buffer.from(message) });
      const later = decodeFrame(encodeHandshake("xx3", session, message));
      expect(later).toEqual({ kind: "xx3", sessionId: session, noise: Buffer.from(message) });
      expect(decodeFrame(encodeHint("unknownSession", session))).toEqual({
        kind: "unknown-session-hint",
        sessionId: session,
      });
    }),
  );
  expect(decodeFrame(encodeHint("version"))).toEqual({ kind: "version-hint", versions: [1] });
  expect(decodeFrame(encodeCookieHint(Buffer.alloc(16, 3)))).toEqual({
    kind: "cookie-hint",
    cookie: Buffer.alloc(16, 3),
  });
  expect(decodeFrame(encodeHint("unreadableHandshake"))).toEqual({ kind: "unreadable-handshake-hint" });
});

test.each([
  ["a ticket of another length", { ticket: Buffer.alloc(19) }],
  ["a cookie of another length", { cookie: Buffer.alloc(17) }],
])("an opening with %s is garbage", (_what, extra) => {
  expect(decodeFrame(encodeOpening("ik1", "web1", new Uint8Array(96), extra))).toBe("garbage");
});

test.each(["../x", "a/b", "-x", "", "a..b", "ä", "a b", "a\0b"])(
  "lesson: 2020-11652 ids and paths match a strict pattern: a handshake for %j is dropped",
  (id) => {
    expect(decodeFrame(encodeOpening("xx1", id, new Uint8Array(32)))).toBe("garbage");
  },
);

test("lesson: 2024-38822/2025-62349 another protocol version is named as such, never guessed at", () => {
  const frame = encodeOpening("xx1", "web1", new Uint8Array(32));
  for (const version of [0, 2, 255]) {
    frame[0] = version;
    expect(decodeFrame(frame)).toBe("version");
  }
});

test("lesson: 2020-11651 remote methods are an allow-list: no inherited or unknown name is a method", () => {
  for (const method of ["constructor", "toString", "__proto__", "hasOwnProperty", "publish", ""]) {
    expect(decodeMinionPacket(encodeMsgpack([0, 1, method, {}]))).toEqual({ kind: "bad-request", id: 1 });
  }
});

test("requests with missing, extra or mistyped fields are bad requests", () => {
  const parse = (body: unknown) => decodeMinionPacket(encodeMsgpack([0, 1, "heartbeat", body])).kind;
  const good = { lastSeq: 0, running: [], counter: 1, bootId: "b", signature: Buffer.alloc(64) };
  expect(parse(good)).toBe("request");
  const { signature, ...unsigned } = good;
  const short = signature.subarray(1);
  const more = [{ lastSeq: -1 }, { counter: 0 }, { counter: 1.5 }, { signature: short }, { extra: 1 }];
  for (const body of [{}, unsigned, 7, ...more.map((one) => ({ ...good, ...one }))]) {
    expect(parse(body)).toBe("bad-request");
  }
});

test("packets: decode(encode(x)) = x; lesson: 2025-22236 a minion cannot say what only the master says", () => {
  const request = encodeRequest(3, "jobs.since", { lastSeq: 4 });
  expect(decodeMinionPacket(request)).toEqual({
    kind: "request",
    id: 3,
    request: { method: "jobs.since", body: { lastSeq: 4 } },
  });
  expect(accepts(() => decodeMasterPacket(request))).toBe(false);
  expect(accepts(() => decodeMinionPacket(encodeNotice({ kind: "probe" })))).toBe(false);
  const ticket = new Uint8Array(20);
  expect(encodeVerdict(true, ticket)).toHaveLength(encodeVerdict(false, ticket).length);
});

test("I7: a job opens only under the key that signed it, unchanged", () => {
  const [master, other] = [generateIdentity(), generateIdentity()];
  const envelope = signJob(job, master.sign);
  expect(openJob(envelope, master.public.signKey)).toEqual(job);
  expect(openJob(envelope, other.public.signKey)).toBeUndefined();
  fc.assert(
    fc.property(fc.nat(envelope.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = Buffer.from(envelope);
      changed[at] = (changed[at] ?? 0) ^ flip;
      expect(openJob(changed, master.public.signKey)).toBeUndefined();
    }),
  );
  expect(() => openJob(signJob({ ...job, seq: 0 }, master.sign), master.public.signKey)).toThrow(ProtocolError);
});
