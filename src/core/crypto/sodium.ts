import { diffieHellman, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type libsodium from "sodium-native";

/** What of libsodium (https://doc.libsodium.org) is used. */
export type Sodium = typeof libsodium;

let loaded: Sodium | undefined;

/** libsodium, once `loadSodium` has found it. */
export function sodium(): Sodium | undefined {
  return loaded;
}

/**
 * From now on this process has libsodium do what it does two to three times as fast as node:crypto, when it is installed and
 * agrees with node:crypto on keys made for that moment; true then. For a master, which does it with each lease and handshake: a minion would
 * wait longer for the library than for its few signatures.
 */
export async function loadSodium(): Promise<boolean> {
  try {
    const { default: found } = await import("sodium-native");
    loaded = agrees(found) ? found : undefined;
  } catch {
    // not installed (it is optional), or nothing for this platform in it
    loaded = undefined;
  }
  return loaded !== undefined;
}

function agrees(found: Sodium): boolean {
  const raw = (key: KeyObject) => Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");
  const signing = generateKeyPairSync("ed25519");
  const message = Buffer.from("latchkey", "latin1");
  const signature = sign(null, message, signing.privateKey);
  const publicKey = raw(signing.publicKey);
  const isValid = found.crypto_sign_verify_detached(signature, message, publicKey);
  const isFooled = found.crypto_sign_verify_detached(signature, Buffer.from("Latchkey", "latin1"), publicKey);
  const [ours, theirs] = [generateKeyPairSync("x25519"), generateKeyPairSync("x25519")];
  const secret = Buffer.from(ours.privateKey.export({ format: "jwk" }).d ?? "", "base64url");
  const [made, shared] = [Buffer.alloc(32), Buffer.alloc(32)];
  found.crypto_scalarmult_base(made, secret);
  found.crypto_scalarmult(shared, secret, raw(theirs.publicKey));
  const known = diffieHellman({ privateKey: ours.privateKey, publicKey: theirs.publicKey });
  return isValid && !isFooled && made.equals(raw(ours.publicKey)) && shared.equals(known);
}
