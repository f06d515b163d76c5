import { randomBytes } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { equalBytes, hmacSha256 } from "../core/crypto/hash.ts";
import type { Opening } from "./frames.ts";
import { COOKIE_BYTES } from "./limits.ts";

/** How long one key makes cookies; it takes them for as long again. */
const KEY_MS = 60_000;
const LABEL = Buffer.from("latchkey cookie v1\0", "latin1");

/**
 * Cookies for openings: who gives one back has read what was sent to it, a round trip after it sent this very opening from this
 * address. The master remembers none of them: each is a MAC under a key of its own that it replaces every minute.
 */
export class OpeningCookies {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #keys: readonly Buffer[] = [];
  #since = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** The cookie for an opening. */
  make(address: string, opening: Opening): Buffer {
    return cookieUnder(this.#fresh()[0] ?? Buffer.alloc(0), address, opening);
  }

  /** Whether the opening comes with a cookie that was made for it less than two minutes ago. */
  check(address: string, opening: Opening): boolean {
    const { cookie } = opening;
    if (cookie.length !== COOKIE_BYTES) return false;
    return this.#fresh().some((key) => equalBytes(cookieUnder(key, address, opening), cookie));
  }

  /** The key of now, and the one before it. */
  #fresh(): readonly Buffer[] {
    const now = this.#clock.monotonicMs();
    const age = now - this.#since;
    if (this.#keys.length > 0 && age < KEY_MS) return this.#keys;
    // one that was replaced longer ago than a key lives makes and takes nothing any more
    this.#keys = [randomBytes(32), ...(age < 2 * KEY_MS ? this.#keys.slice(0, 1) : [])];
    this.#since = now;
    return this.#keys;
  }
}

function cookieUnder(key: Buffer, address: string, { kind, minionId, noise }: Opening): Buffer {
  const head = Buffer.from(`${kind}\0${address}\0${minionId}\0`, "latin1");
  return hmacSha256(key, Buffer.concat([LABEL, head, noise])).subarray(0, COOKIE_BYTES);
}
