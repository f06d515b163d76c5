import { ProtocolError } from "../../../src/core/errors.ts";
import { jobSchema, type Method, methods } from "../../../src/wire/messages.ts";
import { decodeMsgpack } from "../../../src/wire/msgpack.ts";
import {
  decodeMasterPacket,
  decodeMinionPacket,
  encodeConfirm,
  encodeFailure,
  encodeNotice,
  encodeRequest,
  encodeResponse,
  encodeVerdict,
  parseResponse,
} from "../../../src/wire/packets.ts";
import { encodeMsgpack } from "../../../src/wire/msgpack.ts";
import { promise, promisePlain, type Target } from "../target.ts";

const METHODS = Object.keys(methods) as readonly Method[];
const HELLO = {
  version: "1",
  bootId: "b",
  role: "agent",
  grains: { os: "Debian", list: [1, null] },
  lastSeq: 0,
} as const;
const JOB = {
  jid: "20260101120000000001",
  seq: 1,
  issuedAt: 1,
  fun: "test.ping",
  args: [1, "a", null],
  kwargs: { test: true },
  target: { kind: "ids", ids: ["web1"] },
};

function refusedBy(act: () => unknown): unknown {
  try {
    return act();
  } catch (thrown) {
    if (thrown instanceof ProtocolError) return undefined;
    throw thrown;
  }
}

function asMinion(bytes: Buffer): void {
  const packet = decodeMinionPacket(bytes);
  if (packet.kind !== "request") return;
  const { method, body } = packet.request;
  promisePlain(body);
  const again = decodeMinionPacket(encodeRequest(packet.id, method, body));
  promise("a request that was taken is taken again", again.kind === "request" && again.id === packet.id);
}

function asMaster(bytes: Buffer): void {
  const packet = decodeMasterPacket(bytes);
  if (packet.kind === "response") {
    for (const method of METHODS) refusedBy(() => promisePlain(parseResponse(method, packet.body)));
  } else if (packet.kind === "notice") promisePlain(packet.notice);
}

/** Each schema of a message, and that of jobs, is asked too: the fuzzer need not find out how to wrap a body. */
function asBody(bytes: Buffer): void {
  const value = decodeMsgpack(bytes.subarray(1));
  const method = METHODS[(bytes[0] ?? 0) % METHODS.length];
  if (method) methods[method].request.safeParse(value);
  const job = jobSchema.safeParse(value);
  if (job.success) promisePlain(job.data);
}

export const target: Target = {
  covers: ["src/wire/packets.ts", "src/wire/messages.ts", "src/wire/volume-messages.ts"],
  refusals: [ProtocolError],
  dictionary: [
    "\x94\x00",
    "\x93\x01",
    "\x93\x02",
    "\x91\x03",
    "\x93\x05",
    "\xcd\x01\x00",
    "\xcf\x00\x20\x00\x00\x00\x00\x00\x00",
    ...METHODS,
  ],
  seeds: () => [
    encodeRequest(1, "hello", HELLO),
    encodeRequest(70_000, "jobs.since", { lastSeq: 7 }),
    encodeConfirm(),
    encodeFailure(2, "busy"),
    encodeResponse(3, { version: "1", now: 1, seq: 0, heartbeatMs: 1000 }),
    encodeVerdict(true, Buffer.alloc(20)),
    encodeNotice({ kind: "no-such" } as never),
    Buffer.concat([Buffer.of(0), encodeMsgpack(JOB)]),
    ...METHODS.map((method, index) => Buffer.concat([Buffer.of(index), encodeMsgpack({ id: method, version: 1 })])),
  ],
  decode: (bytes) => {
    refusedBy(() => asMinion(bytes));
    refusedBy(() => asMaster(bytes));
    asBody(bytes);
  },
};
