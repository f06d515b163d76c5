import { createPublicKey, type KeyObject } from "node:crypto";

const HEAD = "-----BEGIN PUBLIC KEY-----\n";
const TAIL = "\n-----END PUBLIC KEY-----\n";

/**
 * The key object of a raw public key behind its DER header (RFC 8410 section 4). As PEM, because node takes four times as
 * long for any form that is not a string: it finds out by exceptions that an object is no key. Throws for bytes that are
 * no key.
 */
export function parsePublicKey(header: Uint8Array, raw: Uint8Array): KeyObject {
  return createPublicKey(`${HEAD}${Buffer.concat([header, raw]).toString("base64")}${TAIL}`);
}
