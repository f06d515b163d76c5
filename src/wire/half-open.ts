import type { Clock } from "../core/clock.ts";
import type { Drops } from "./drop-counters.ts";
import { HALF_OPEN_MS, MAX_HALF_OPEN } from "./limits.ts";

/** What every unfinished handshake has. */
interface HalfOpen {
  readonly minionId: string;
  /** Set when it must not become a session any more; called once. */
  drop(): void;
}

/**
 * Unfinished handshakes by session id, bounded in number and age: the oldest make room for new ones, so that a flood
 * of openings costs memory for none and patience for few.
 */
export class HalfOpenTable<T extends HalfOpen> {
  readonly #entries = new Map<string, { readonly since: number; readonly value: T }>();
  readonly #clock: Clock;
  readonly #drops: Drops;

  constructor(clock: Clock, drops: Drops) {
    this.#clock = clock;
    this.#drops = drops;
  }

  get size(): number {
    return this.#entries.size;
  }

  add(sessionId: string, value: T): void {
    if (this.#entries.size >= MAX_HALF_OPEN) this.#expireOldest();
    this.#entries.set(sessionId, { since: this.#clock.monotonicMs(), value });
  }

  get(sessionId: string): T | undefined {
    return this.#entries.get(sessionId)?.value;
  }

  /** Takes it out without dropping it: it was finished. */
  take(sessionId: string): T | undefined {
    const entry = this.#entries.get(sessionId);
    this.#entries.delete(sessionId);
    return entry?.value;
  }

  /** Drops all of one minion id: its key was deleted or rejected just now. */
  dropMinion(minionId: string): void {
    for (const [sessionId, { value }] of this.#entries) {
      if (value.minionId === minionId) {
        this.#entries.delete(sessionId);
        value.drop();
      }
    }
  }

  /** Drops what is too old; insertion order is age. */
  expire(): void {
    const before = this.#clock.monotonicMs() - HALF_OPEN_MS;
    for (const { since } of this.#entries.values()) {
      if (since > before) return;
      this.#expireOldest();
    }
  }

  #expireOldest(): void {
    for (const [sessionId, { value }] of this.#entries) {
      this.#entries.delete(sessionId);
      value.drop();
      this.#drops.add("half-open");
      return;
    }
  }
}
