import { createHmac, createSecretKey, hash, hkdfSync, timingSafeEqual } from "node:crypto";

/** SHA-256 of the bytes (FIPS 180-4): 32 bytes. */
export function sha256(data: Uint8Array): Buffer {
  return hash("sha256", data, "buffer");
}

/** HMAC-SHA-256 (RFC 2104): 32 bytes. */
export function hmacSha256(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac("sha256", createSecretKey(key)).update(data).digest();
}

/** HKDF-SHA-256 (RFC 5869): `length` bytes of key material. */
export function hkdfSha256(key: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Buffer {
  return Buffer.from(hkdfSync("sha256", createSecretKey(key), salt, info, length));
}

/** Whether two byte strings are equal; takes the same time wherever they differ. Lengths are not hidden. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
