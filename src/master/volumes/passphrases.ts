import { randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { ConfigError } from "../../core/errors.ts";
import type { Secret } from "../../core/secret.ts";

/** How long one is held, and how many at once. */
const HELD_MS = 5 * 60_000;
const SWEEP_MS = 15_000;
const MAX_HELD = 100;

interface Held {
  readonly id: string;
  readonly secret: Secret;
  readonly until: number;
}

/**
 * Recovery passphrases on their way from an operator to a minion: in memory alone, for one minion, handed out once, wiped
 * after five minutes at the latest. They are never stored, logged or recorded.
 */
export class Passphrases implements Disposable {
  readonly #held = new Map<string, Held>();
  readonly #clock: Clock;
  readonly #sweeper: NodeJS.Timeout;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  get size(): number {
    return this.#held.size;
  }

  /** Takes a passphrase over and returns the ticket for it. Throws ConfigError `too-many-passphrases`; then it is wiped. */
  hold(id: string, secret: Secret): string {
    this.sweep();
    if (this.#held.size >= MAX_HELD) {
      secret.wipe();
      throw new ConfigError("too-many-passphrases", `cannot hold more than ${MAX_HELD} recovery passphrases at once`);
    }
    const ticket = randomBytes(16).toString("hex");
    this.#held.set(ticket, { id, secret, until: this.#clock.monotonicMs() + HELD_MS });
    return ticket;
  }

  /** Whether there is one for this minion under the ticket. */
  has(id: string, ticket: string): boolean {
    this.sweep();
    return this.#held.get(ticket)?.id === id;
  }

  /** Hands it over, to be wiped by the caller; undefined when there is none (any more) for this minion. */
  take(id: string, ticket: string): Secret | undefined {
    if (!this.has(id, ticket)) return undefined;
    const held = this.#held.get(ticket);
    this.#held.delete(ticket);
    return held?.secret;
  }

  /** Wipes what is over its time; runs by itself. */
  sweep(): void {
    const now = this.#clock.monotonicMs();
    for (const [ticket, { secret, until }] of this.#held) {
      if (until > now) continue;
      secret.wipe();
      this.#held.delete(ticket);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
    for (const { secret } of this.#held.values()) secret.wipe();
    this.#held.clear();
  }
}
