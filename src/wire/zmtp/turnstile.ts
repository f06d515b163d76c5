import type { Clock } from "../../core/clock.ts";
import { TokenBuckets } from "../../core/token-buckets.ts";

/** What each connection may send before it has to wait for its turn: greeting, READY and a handshake have less. */
export const FREE_BYTES = 1024;
/** Worked on in one turn of the event loop, in which live sessions have theirs, too. */
const SLICE_BYTES = 2048;
/** Of all together: at once, then a second. A tenth of a core's work when all are openings. */
const PACE = { burst: 64 * 1024, aSecond: 256 * 1024 };
/** Kept of all that wait. */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Somebody without a session who has sent more than a handshake needs. */
export interface Passenger {
  /** Bytes of it that wait. */
  readonly waitingBytes: number;
  /** Works on so many of them at most. */
  takeTurn(bytes: number): void;
}

/**
 * What peers without a session send beyond a handshake, a little in each turn of the event loop and bounded in all; networks
 * take turns. Without it a few sockets full of openings kept everything else waiting until all of them were worked on.
 */
export class Turnstile<T extends Passenger> {
  readonly #clock: Clock;
  readonly #pace: TokenBuckets;
  // whose turn is next comes first
  readonly #networks = new Map<string, Set<T>>();
  #waitingBytes = 0;
  #isTurning = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#pace = new TokenBuckets(PACE.burst, PACE.aSecond, clock);
  }

  /** Takes one in, with more than it had waiting before; false when too much waits already. */
  enter(one: T, network: string, bytes: number): boolean {
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) return false;
    this.#waitingBytes += bytes;
    const own = this.#networks.get(network) ?? new Set();
    this.#networks.set(network, own.add(one));
    this.#turnLater();
    return true;
  }

  /** It is gone, and what waited of it. */
  leave(one: T, network: string): void {
    const own = this.#networks.get(network);
    if (!own?.delete(one)) return;
    this.#waitingBytes -= one.waitingBytes;
    if (own.size === 0) this.#networks.delete(network);
  }

  #turnLater(): void {
    if (this.#isTurning) return;
    this.#isTurning = true;
    setImmediate(() => void this.#turn());
  }

  async #turn(): Promise<void> {
    while (this.#networks.size > 0 && !this.#pace.take("", SLICE_BYTES)) {
      await this.#clock.sleep((SLICE_BYTES * 1000) / PACE.aSecond);
    }
    this.#isTurning = false;
    for (const [network, waiting] of this.#networks) {
      const [one] = waiting;
      this.#networks.delete(network);
      if (one) {
        waiting.delete(one);
        const before = one.waitingBytes;
        one.takeTurn(SLICE_BYTES);
        this.#waitingBytes -= before - one.waitingBytes;
        if (one.waitingBytes > 0) waiting.add(one);
      }
      if (waiting.size > 0) this.#networks.set(network, waiting);
      break;
    }
    if (this.#networks.size > 0) this.#turnLater();
  }
}
