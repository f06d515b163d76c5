import { SIGNATURE_BYTES, type SigningKey, verifySignature } from "../core/crypto/ed25519.ts";
import { ProtocolError } from "../core/errors.ts";
import { type Job, jobSchema } from "./messages.ts";
import { decodeMsgpack, encodeMsgpack } from "./msgpack.ts";

const TAG = Buffer.from("latchkey job v1\0", "latin1");

/** A job as it travels and is kept: the master's Ed25519 signature over a tag and the job's msgpack, then that msgpack. */
export function signJob(job: Job, key: SigningKey): Buffer {
  const body = encodeMsgpack(job);
  return Buffer.concat([key.sign(Buffer.concat([TAG, body])), body]);
}

/**
 * The job in an envelope, once the master's signature over it holds (I7). Returns undefined when it does not; throws
 * ProtocolError `bad-msgpack` or `bad-message` when the master itself signed what is no job.
 */
export function openJob(envelope: Uint8Array, masterKey: Uint8Array): Job | undefined {
  const body = envelope.subarray(SIGNATURE_BYTES);
  const signature = envelope.subarray(0, SIGNATURE_BYTES);
  if (!verifySignature(masterKey, Buffer.concat([TAG, body]), signature)) return undefined;
  const parsed = jobSchema.safeParse(decodeMsgpack(body));
  if (parsed.success) return parsed.data;
  throw new ProtocolError("bad-message", "cannot accept job: it does not match its schema", { cause: parsed.error });
}
