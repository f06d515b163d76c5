import { inspect } from "node:util";
import { BugError } from "./errors.ts";

const MASK = "[secret]";

/**
 * Key material on its way (I5). The bytes live in one buffer outside the JavaScript heap, so that the garbage collector
 * never copies them, and are overwritten by `wipe`. A secret never turns into a string: printing, logging or serialising
 * it yields `[secret]`.
 */
export class Secret implements Disposable {
  readonly #bytes: Buffer;
  #wiped = false;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Takes the bytes over: copies them into memory of its own and overwrites `source` with zeros. */
  static take(source: Uint8Array): Secret {
    // an ArrayBuffer of its own: V8 keeps typed arrays of up to 64 bytes inside its heap, where collection copies them,
    // and Node's pool has neighbours who can read it
    const bytes = Buffer.from(new ArrayBuffer(source.length));
    bytes.set(source);
    source.fill(0);
    return new Secret(bytes);
  }

  /** Length in bytes; still known after the wipe. */
  get length(): number {
    return this.#bytes.length;
  }

  get wiped(): boolean {
    return this.#wiped;
  }

  /**
   * The live bytes themselves, not a copy, for the one call that needs them (a pipe, a cipher). The caller must not keep
   * them. Throws BugError `secret-wiped` after the wipe.
   */
  expose(): Buffer {
    if (this.#wiped) throw new BugError("secret-wiped", "cannot use a secret: it was wiped already");
    return this.#bytes;
  }

  /** Overwrites the bytes with zeros; a second call does nothing. */
  wipe(): void {
    this.#bytes.fill(0);
    this.#wiped = true;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
