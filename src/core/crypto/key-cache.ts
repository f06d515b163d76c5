/**
 * Remembers what was made of a public key (a parsed key object), at most `capacity` entries, the oldest leave first.
 * Only for public keys: entries are never wiped.
 */
export class KeyCache<T> {
  readonly #entries = new Map<string, T>();
  readonly #capacity: number;
  readonly #make: (key: Uint8Array) => T;

  constructor(capacity: number, make: (key: Uint8Array) => T) {
    this.#capacity = capacity;
    this.#make = make;
  }

  /** The entry for the key, made on first use. */
  get(key: Uint8Array): T {
    const name = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const made = this.#make(key);
    if (this.#entries.size >= this.#capacity) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    this.#entries.set(name, made);
    return made;
  }
}
