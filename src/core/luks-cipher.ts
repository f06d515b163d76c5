/**
 * Ciphers that a LUKS volume may have, as cryptsetup writes them (`cipher-mode-iv`, cryptsetup(8)) or as the kernel's crypto
 * interface names them (`capi:…`, dm-crypt, kernel documentation).
 */
const SAFE: readonly RegExp[] = [
  /^(?:aes|serpent|twofish|camellia)-(?:xts-(?:plain|plain64)|cbc-essiv:sha(?:256|512))$/u,
  /^xchacha(?:12|20),aes-adiantum-(?:plain|plain64)$/u,
  // with a tag a sector: an integrity type belongs to them
  /^(?:aes-gcm|aegis128|chacha20)-random$/u,
  /^aes-xts-random$/u,
  /^capi:xts\((?:aes|serpent|twofish|camellia)\)-(?:plain|plain64)$/u,
  /^capi:cbc\((?:aes|serpent|twofish|camellia)\)-essiv:sha(?:256|512)$/u,
  /^capi:adiantum\(xchacha(?:12|20),aes\)-(?:plain|plain64)$/u,
  /^capi:(?:gcm\(aes\)|rfc7539\(chacha20,poly1305\)|authenc\(hmac\(sha(?:256|512)\),xts\(aes\)\))-(?:random|plain64)$/u,
];

/**
 * Whether data under this cipher is encrypted, by a list of what is known to: `cipher_null`, `ecb`, whatever else does not hide
 * what it should, and what nobody knows are all false.
 */
export function isSafeCipher(cipher: string): boolean {
  return SAFE.some((pattern) => pattern.test(cipher));
}

/** For a cipher that a person gave: what to write in its place. */
export const SAFE_CIPHER_HINT = "such as aes-xts-plain64; one that does not encrypt, or that is not known, is refused";
