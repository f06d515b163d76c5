/** The part of the package that we use; it has no types of its own. */
declare module "sodium-native" {
  const sodium: {
    /** Throws nothing; the lengths are the caller's to check. */
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
    /** Throws for a public key of low order. */
    crypto_scalarmult(shared: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): void;
    crypto_scalarmult_base(publicKey: Uint8Array, secret: Uint8Array): void;
    /** Between guard pages, locked into memory where that is allowed, left out of core dumps. */
    sodium_malloc(length: number): Buffer;
  };
  export default sodium;
}
