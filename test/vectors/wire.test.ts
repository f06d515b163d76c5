import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { openSealed } from "../../src/core/crypto/sealed-secret.ts";
import { dhKeyFromSecret } from "../../src/core/crypto/x25519.ts";
import { fingerprint, identityFromSecret } from "../../src/core/identity.ts";
import { Secret } from "../../src/core/secret.ts";
import { Channel } from "../../src/wire/channel.ts";
import { erasedSigningBytes, signErased } from "../../src/wire/erased-signature.ts";
import { encodeCookieHint, encodeHandshake, encodeHint, encodeOpening } from "../../src/wire/frames.ts";
import { makeProof, prologue } from "../../src/wire/handshake-proof.ts";
import { heartbeatSigningBytes, signHeartbeat } from "../../src/wire/heartbeat-signature.ts";
import { epochSigningBytes, signEpoch } from "../../src/wire/job-epoch.ts";
import { signJob } from "../../src/wire/job-envelope.ts";
import { leaseSigningBytes, receiptSigningBytes, signLease } from "../../src/wire/lease-signature.ts";
import { encodeConfirm, encodeFailure, encodeNotice, encodeRequest, encodeVerdict } from "../../src/wire/packets.ts";
import { rotationSigningBytes, signRotation } from "../../src/wire/rotation-signature.ts";

type Vectors = Readonly<Record<string, string>>;
const golden = JSON.parse(readFileSync(new URL("wire.json", import.meta.url), "utf8")) as Vectors;

const filled = (byte: number, length = 32) => Buffer.alloc(length, byte);
const identity = identityFromSecret(Secret.take(Buffer.concat([filled(1), filled(2)])));
const session = "0102030405060708";
const channel = new Channel(session, { send: filled(3), receive: filled(4) });
const lease = {
  path: "password",
  purpose: "open",
  version: 2,
  device: "/dev/vg0/vg0",
  luksUuid: "0d2a7a5e-0000-4000-8000-000000000001",
  layout: 'segments.0.encryption "aes-xts-plain64"\nversion "2"',
  reencrypts: false,
  bootId: "0d2a7a5e-0000-4000-8000-000000000002",
  ephemeral: filled(6),
} as const;
const receipt = { leaseId: "l1", outcome: "opened", wiped: true, tookMs: 12.5 } as const;
const heartbeat = { counter: 3, lastSeq: 7, bootId: lease.bootId } as const;
const rotation = {
  event: "proven",
  volume: "data",
  path: "volumes:data:luks:key",
  device: "/dev/vg0/data",
  luksUuid: lease.luksUuid,
  from: 1,
  to: 2,
  slot: 3,
  keepOld: true,
} as const;
const { volume, path, device, luksUuid } = rotation;
const erased = { volume, path, device, luksUuid, killed: [0, 3] };
const job = {
  jid: "20260101000000000000",
  seq: 7,
  issuedAt: 1_767_225_600_000,
  fun: "test.ping",
  args: [],
  kwargs: {},
  target: { kind: "all" },
} as const;
const envelope = signJob({ ...job, args: [], kwargs: {} }, identity.sign);

const epoch = signEpoch(7, filled(12, 16), identity.sign);

const made: Readonly<Record<string, Uint8Array | string>> = {
  fingerprint: fingerprint(identity.public),
  signKey: identity.public.signKey,
  dhKey: identity.public.dhKey,
  prologue: prologue("web1"),
  minionProof: makeProof("minion", identity, filled(7)),
  masterProof: makeProof("master", identity, filled(7)),
  xx1: encodeOpening("xx1", "web1", filled(8)),
  xx1Full: encodeOpening("xx1", "web1", filled(8), { ticket: filled(12, 20), cookie: filled(13, 16) }),
  xx2: encodeHandshake("xx2", session, filled(9)),
  xx3: encodeHandshake("xx3", session, filled(9)),
  ik1: encodeOpening("ik1", "web1", filled(8)),
  ik2: encodeHandshake("ik2", session, filled(9)),
  hintVersion: encodeHint("version"),
  hintUnknownSession: encodeHint("unknownSession", session),
  hintCookie: encodeCookieHint(filled(13, 16)),
  hintUnreadableHandshake: encodeHint("unreadableHandshake"),
  request: encodeRequest(1, "jobs.since", { lastSeq: 7 }),
  confirm: encodeConfirm(),
  failure: encodeFailure(1, "refused"),
  notice: encodeNotice({ kind: "probe" }),
  verdictAccepted: encodeVerdict(true, filled(12, 20)),
  verdictRefused: encodeVerdict(false, filled(12, 20)),
  data0: channel.seal(Buffer.from("first")),
  data1: channel.seal(Buffer.from("second")),
  jobEnvelope: envelope,
  epochSigningBytes: epochSigningBytes(epoch),
  epochSignature: epoch.signature,
  noticeJob: encodeNotice({ kind: "job", envelope, after: 5, epoch }),
  leaseSigningBytes: leaseSigningBytes(lease, filled(10)),
  leaseSignature: signLease(lease, identity, filled(10)).signature,
  receiptSigningBytes: receiptSigningBytes(receipt, filled(10)),
  rotationSigningBytes: rotationSigningBytes(rotation, filled(10)),
  rotationSignature: signRotation(rotation, identity, filled(10)).signature,
  erasedSigningBytes: erasedSigningBytes(erased, filled(10)),
  erasedSignature: signErased(erased, identity, filled(10)).signature,
  heartbeatSigningBytes: heartbeatSigningBytes(heartbeat, filled(10)),
  heartbeatSignature: signHeartbeat(heartbeat, identity, filled(10)).signature,
};

test.each(Object.entries(made))("version 1 bytes do not change: %s", (name, value) => {
  expect(typeof value === "string" ? value : Buffer.from(value).toString("hex")).toBe(golden[name]);
});

test("a secret sealed by an earlier build still opens", () => {
  const sealed = Buffer.from(golden["sealedSecret"] ?? "", "hex");
  using opened = openSealed(sealed, dhKeyFromSecret(filled(11)), identity.public.dhKey);
  expect(opened.expose()).toEqual(Buffer.from("a passphrase of the golden vector"));
});

test("no vector is left unused", () => {
  expect(Object.keys(golden).sort()).toEqual([...Object.keys(made), "sealedSecret"].sort());
});
