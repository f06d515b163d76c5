import { z } from "../core/schema.ts";
import { checkpointSchema } from "../core/audit/verify.ts";
import { JID, MINION_ID } from "../core/ids.ts";
import { jsonObjectSchema, jsonSchema } from "../core/json-schema.ts";
import { LEASE_OUTCOMES, LEASE_PURPOSES } from "../core/lease-purpose.ts";
import { MAX_LAYOUT_CHARS } from "../core/luks-layout.ts";
import {
  HEADER_CHUNK_BYTES,
  headerFactsSchema,
  listedHeaderSchema,
  MAX_HEADER_BYTES,
  MAX_HEADERS,
} from "../core/volume-header.ts";
import { volumeReportSchema } from "../core/volume-report.ts";
import { TICKET_BYTES } from "./limits.ts";
import { volumeErased, volumeForget, volumeRotation, volumeWork } from "./volume-messages.ts";

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, "expected bytes");
const bytesOf = (length: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length, `expected ${length} bytes`);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/u);
const jid = z.string().regex(JID);
const minionId = z.string().regex(MINION_ID);
const word = z.string().min(1).max(200);

/** Most bytes of one file chunk. */
export const FILE_CHUNK_BYTES = 256 * 1024;

/** A job as it goes out (inside the signed envelope): what to run, and who is meant. Jobs never carry secrets. */
export const jobSchema = z.strictObject({
  jid,
  /** Position in the master's sequence of jobs; strictly increasing. */
  seq: z.number().int().positive(),
  issuedAt: z.number().int(),
  fun: word,
  args: z.array(jsonSchema).max(200),
  kwargs: jsonObjectSchema,
  target: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("all") }),
    z.strictObject({ kind: z.literal("ids"), ids: z.array(minionId).max(100_000) }),
  ]),
});
export type Job = z.infer<typeof jobSchema>;

/** The master's word that it has begun an epoch of job numbers; see docs/PROTOCOL.md. */
export const signedEpochSchema = z.strictObject({
  epoch: z.number().int().nonnegative(),
  nonce: bytesOf(16),
  signature: bytesOf(64),
});
export type SignedEpoch = z.infer<typeof signedEpochSchema>;

/** Requests that a minion makes on its session, and what the master answers. One entry a method. */
export const methods = {
  /** First request of a session. `role` `call` marks a one-off `latchkey call`, which takes no jobs. */
  hello: {
    request: z.strictObject({
      version: word,
      bootId: z.string().max(64),
      role: z.enum(["agent", "call"]),
      grains: jsonObjectSchema,
      /** Highest job sequence number seen, 0 for none. */
      lastSeq: z.number().int().nonnegative(),
      /** The newest epoch of this master that the minion keeps. */
      epoch: signedEpochSchema.optional(),
    }),
    response: z.strictObject({
      version: word,
      now: z.number().int(),
      /** Highest number of a job that this minion still has to take, 0 for none. */
      seq: z.number().int().nonnegative(),
      heartbeatMs: z.number().int().positive(),
    }),
  },
  /** Says that the minion is there: each one is signed by its identity, over handshake hash, counter, lastSeq, bootId. */
  heartbeat: {
    request: z.strictObject({
      lastSeq: z.number().int().nonnegative(),
      /** From 1, higher each time in a session. */
      counter: z.number().int().positive(),
      bootId: z.string().max(64),
      signature: bytesOf(64),
      running: z.array(z.strictObject({ jid, fun: word, since: z.number().int() })).max(100),
      /** What this minion keeps of the master's audit log: number and hash of a record that the master has signed. */
      witness: z.strictObject({ seq: z.number().int().positive(), hash: sha256 }).optional(),
    }),
    response: z.strictObject({
      /** As in the answer to `hello`. */
      seq: z.number().int().nonnegative(),
      /** The master's newest signed checkpoint of its audit log, for the minion to keep. */
      checkpoint: checkpointSchema.optional(),
    }),
  },
  /**
   * Jobs after `lastSeq` that are meant for this minion and still wanted, as signed envelopes in order; up to `seq` there are
   * no others.
   */
  "jobs.since": {
    request: z.strictObject({ lastSeq: z.number().int().nonnegative() }),
    response: z.strictObject({
      envelopes: z.array(bytes),
      seq: z.number().int().nonnegative(),
      epoch: signedEpochSchema,
    }),
  },
  /** The job arrived and will run (`queued` behind what else runs). */
  "job.ack": {
    request: z.strictObject({ jid }),
    response: z.strictObject({}),
  },
  /** How far a state run is. Never changes a verdict; may be lost. */
  "job.progress": {
    request: z.strictObject({ jid, done: z.number().int(), total: z.number().int(), current: z.string().max(1000) }),
    response: z.strictObject({}),
  },
  /** The return of a job (I8): answered only when it is on the master's disk. A startup run makes its own jid. */
  return: {
    request: z.strictObject({
      jid,
      fun: word,
      success: z.boolean(),
      retcode: z.number().int(),
      startedAt: z.number().int(),
      finishedAt: z.number().int(),
      startup: z.boolean(),
      data: jsonSchema,
    }),
    response: z.strictObject({}),
  },
  /**
   * This minion's compiled pillar, secrets as references; or the place of the mistake for which there is none. Never a word
   * of the file's text, which may be a secret in the wrong place.
   */
  pillar: {
    request: z.strictObject({}),
    response: z.union([
      z.strictObject({ pillar: jsonObjectSchema }),
      z.strictObject({
        broken: z.strictObject({
          /** Code of the error, such as `bad-yaml`. */
          kind: word,
          file: z.string().max(4096).optional(),
          line: z.number().int().positive().optional(),
        }),
      }),
    ]),
  },
  /** Every file of the file roots with its hash. */
  "files.list": {
    request: z.strictObject({}),
    response: z.strictObject({
      files: z.array(z.strictObject({ path: z.string().max(4096), size: z.number().int(), sha256 })),
    }),
  },
  /** A chunk of a file, from `offset`; `eof` ends it. `found` false when there is no such file (any more). */
  "files.get": {
    request: z.strictObject({ path: z.string().max(4096), offset: z.number().int().nonnegative() }),
    response: z.strictObject({ found: z.boolean(), data: bytes, eof: z.boolean() }),
  },
  /**
   * A key for one purpose. `ephemeral` is an X25519 public key made for this lease; `signature` is Ed25519 by the
   * minion's identity over the session's handshake hash and all other fields (see docs/PROTOCOL.md).
   */
  lease: {
    request: z.strictObject({
      /** Pillar path, without `secret:`. */
      path: z.string().min(1).max(500),
      purpose: z.enum(LEASE_PURPOSES),
      /** Which stored version; 0 for the current one. */
      version: z.number().int().nonnegative(),
      device: z.string().max(4096),
      luksUuid: z.string().max(64),
      /** How the device's LUKS header says that the volume is encrypted (core/luks-layout.ts); "" for no header. */
      layout: z.string().max(MAX_LAYOUT_CHARS),
      /** The key is for a re-encryption: from now on the header differs by right in what that changes. */
      reencrypts: z.boolean(),
      bootId: z.string().max(64),
      ephemeral: bytesOf(32),
      signature: bytesOf(64),
    }),
    response: z.discriminatedUnion("verdict", [
      z.strictObject({
        verdict: z.literal("allow"),
        leaseId: word,
        version: z.number().int().positive(),
        generated: z.boolean(),
        /** NaCl box: 24-byte nonce, then the box of the padded secret. */
        sealed: bytes,
      }),
      /** Waits for approval: ask again after `retryMs`. */
      z.strictObject({ verdict: z.literal("hold"), retryMs: z.number().int().positive() }),
      z.strictObject({ verdict: z.literal("deny") }),
    ]),
  },
  /** What became of a lease, signed like it. */
  "lease.receipt": {
    request: z.strictObject({
      leaseId: word,
      outcome: z.enum(LEASE_OUTCOMES),
      wiped: z.boolean(),
      tookMs: z.number().nonnegative(),
      signature: bytesOf(64),
    }),
    response: z.strictObject({}),
  },
  /** What this minion sees of its volumes, after each change of one, each startup run and each check. */
  "volume.report": {
    request: z.strictObject({ reports: z.array(volumeReportSchema).max(200) }),
    response: z.strictObject({}),
  },
  "volume.rotation": volumeRotation,
  "volume.erased": volumeErased,
  "volume.forget": volumeForget,
  /** Asks to put a LUKS header into escrow. `known` when these very bytes are there already, as the newest. */
  "header.offer": {
    request: z.strictObject({ facts: headerFactsSchema }),
    response: z.discriminatedUnion("verdict", [
      z.strictObject({ verdict: z.literal("known"), version: z.number().int().positive() }),
      z.strictObject({ verdict: z.literal("send"), upload: word }),
    ]),
  },
  /** The next piece of an offered header, in order. */
  "header.chunk": {
    request: z.strictObject({
      upload: word,
      offset: z.number().int().nonnegative().max(MAX_HEADER_BYTES),
      data: z.custom<Uint8Array>(
        (value) => value instanceof Uint8Array && value.length > 0 && value.length <= HEADER_CHUNK_BYTES,
        "expected a piece of a header",
      ),
    }),
    response: z.strictObject({}),
  },
  /** All pieces were sent: answered when the header is encrypted on the master's disk and read back. */
  "header.store": {
    request: z.strictObject({ upload: word }),
    response: z.strictObject({ version: z.number().int().positive() }),
  },
  /** What is in escrow of one of this minion's volumes, newest first. */
  "header.list": {
    request: z.strictObject({ volume: z.string().min(1).max(63) }),
    response: z.strictObject({ headers: z.array(listedHeaderSchema).max(MAX_HEADERS) }),
  },
  /** A piece of a header in escrow, from `offset`; `eof` ends it. */
  "header.get": {
    request: z.strictObject({
      volume: z.string().min(1).max(63),
      version: z.number().int().positive(),
      offset: z.number().int().nonnegative().max(MAX_HEADER_BYTES),
    }),
    response: z.strictObject({ found: z.boolean(), data: bytes, eof: z.boolean() }),
  },
  /**
   * How the master knows the LUKS header of one of this minion's own volumes, for it to say in which fields the one on the disk
   * differs after a lease was refused. "" for none.
   */
  "header.known": {
    request: z.strictObject({ path: z.string().min(1).max(500), luksUuid: z.string().max(64) }),
    response: z.strictObject({ layout: z.string().max(MAX_LAYOUT_CHARS), reencrypting: z.boolean() }),
  },
  "volume.work": volumeWork,
  bye: { request: z.strictObject({}), response: z.strictObject({}) },
} as const;

export type Method = keyof typeof methods;
export type Request<M extends Method> = z.infer<(typeof methods)[M]["request"]>;
export type Response<M extends Method> = z.infer<(typeof methods)[M]["response"]>;

/** See opening-ticket.ts. */
export const ticketSchema = bytesOf(TICKET_BYTES);

/** What the master sends on a session without being asked. */
export const noticeSchema = z.discriminatedUnion("kind", [
  /** Only asks the transport whether the peer is there. */
  z.strictObject({ kind: z.literal("probe") }),
  /**
   * A job, as a signed envelope. `after` is the highest number of an earlier one that this minion may still have to take, 0 for
   * none: who has not come so far asks `jobs.since`. `epoch` is that of the job, or a later one.
   */
  z.strictObject({
    kind: z.literal("job"),
    envelope: bytes,
    after: z.number().int().nonnegative(),
    epoch: signedEpochSchema,
  }),
  /** A newer ticket, for the minion's next openings. */
  z.strictObject({ kind: z.literal("ticket"), ticket: ticketSchema }),
  /** A lease that was held may be asked for again now: somebody approved or denied it. Says nothing of which. */
  z.strictObject({ kind: z.literal("lease-retry") }),
  /** The session ends now: key rejected or deleted, or the master stops. */
  z.strictObject({ kind: z.literal("close") }),
]);
export type Notice = z.infer<typeof noticeSchema>;
