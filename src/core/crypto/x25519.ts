import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomFillSync,
} from "node:crypto";
import { BugError, ProtocolError } from "../errors.ts";
import { KeyCache } from "./key-cache.ts";
import { parsePublicKey } from "./public-key.ts";
import { type Sodium, sodium } from "./sodium.ts";

// DER headers around the raw 32 bytes (RFC 8410 sections 4 and 7)
const PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const SPKI = Buffer.from("302a300506032b656e032100", "hex");

export const DH_KEY_BYTES = 32;

/** An X25519 key pair (RFC 7748). The private half stays inside OpenSSL's memory, or libsodium's. */
export interface DhKey extends Disposable {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /**
   * The shared secret with another's public key, 32 bytes, as `nacl.scalarMult`; the caller wipes it. Throws
   * ProtocolError `weak-key` for a point of low order, whose result would not depend on this key, and for wrong lengths.
   */
  agree(publicKey: Uint8Array): Buffer;
  /** Ends it: the private half is overwritten, or let go for OpenSSL to overwrite, and `agree` throws from then on. */
  wipe(): void;
}

/** The key pair of a 32-byte secret. The caller wipes the secret. */
export function dhKeyFromSecret(secret: Uint8Array): DhKey {
  if (secret.length !== DH_KEY_BYTES)
    throw new BugError("bad-seed", `cannot make an X25519 key of ${secret.length} bytes`);
  const native = sodium();
  if (native) {
    const own = native.sodium_malloc(DH_KEY_BYTES);
    own.set(secret);
    return sodiumDhKey(native, own);
  }
  const der = Buffer.concat([PKCS8, secret]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  return dhKey(key, createPublicKey(key));
}

// above the 64 bytes up to which V8 keeps a buffer inside its own heap, where a wipe misses copies
const OFF_HEAP_BYTES = 96;

/** A new key pair for one use. */
export function generateDhKey(): DhKey {
  const native = sodium();
  if (native)
    return sodiumDhKey(native, randomFillSync(Buffer.allocUnsafeSlow(OFF_HEAP_BYTES).subarray(0, DH_KEY_BYTES)));
  const pair = generateKeyPairSync("x25519");
  return dhKey(pair.privateKey, pair.publicKey);
}

// most are used twice within one handshake and never again
const publicKeys = new KeyCache<KeyObject>(256, (raw) => parsePublicKey(SPKI, raw));

function dhKey(privateKey: KeyObject, publicKey: KeyObject): DhKey {
  let own: KeyObject | undefined = privateKey;
  const wipe = () => {
    own = undefined;
  };
  return {
    // as JWK, which is far quicker than DER
    publicKey: Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url"),
    agree: (other) => {
      const key = unwiped(own);
      return agreed(other, () => diffieHellman({ privateKey: key, publicKey: publicKeys.get(other) }));
    },
    wipe,
    [Symbol.dispose]: wipe,
  };
}

/** Takes the secret over. There is no key object to be made of it, nor of each public key that it meets. */
function sodiumDhKey(native: Sodium, secret: Buffer): DhKey {
  let own: Buffer | undefined = secret;
  const wipe = () => {
    own?.fill(0);
    own = undefined;
  };
  const publicKey = Buffer.alloc(DH_KEY_BYTES);
  native.crypto_scalarmult_base(publicKey, secret);
  const multiply = (key: Buffer, other: Uint8Array) => {
    const shared = Buffer.allocUnsafeSlow(OFF_HEAP_BYTES).fill(0).subarray(0, DH_KEY_BYTES);
    native.crypto_scalarmult(shared, key, other);
    return shared;
  };
  return {
    publicKey,
    agree: (other) => {
      const key = unwiped(own);
      return agreed(other, () => multiply(key, other));
    },
    wipe,
    [Symbol.dispose]: wipe,
  };
}

function unwiped<T>(key: T | undefined): T {
  if (key === undefined) throw new BugError("key-wiped", "cannot agree on a key: ours is wiped");
  return key;
}

function agreed(other: Uint8Array, agree: () => Buffer): Buffer {
  if (other.length !== DH_KEY_BYTES) throw new ProtocolError("weak-key", "cannot agree on a key: wrong key length");
  let shared: Buffer;
  try {
    shared = agree();
  } catch (cause) {
    throw new ProtocolError("weak-key", "cannot agree on a key: the public key is of low order", { cause });
  }
  // the libraries refuse these themselves; RFC 7748 section 6.1 asks for the check, so it stands here too
  if (shared.every((byte) => byte === 0)) {
    throw new ProtocolError("weak-key", "cannot agree on a key: the public key is of low order");
  }
  return shared;
}
