import type { Clock } from "../../core/clock.ts";

interface Account {
  balanceMs: number;
  at: number;
}

/** What a host may use at once, and what of it comes back: a twentieth of the thread. */
const BURST_MS = 500;
const SHARE = 0.05;
const MAX_HOSTS = 20_000;

/** Time in which hosts may keep the thread of expressions busy: who used up its own waits for no one and gets no answer. */
export class HostTime {
  readonly #clock: Clock;
  readonly #accounts = new Map<string, Account>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the host has time left. */
  has(host: string): boolean {
    return this.#of(host).balanceMs > 0;
  }

  /** Takes what an evaluation has cost; it may be more than there was, and is then owed. */
  take(host: string, tookMs: number): void {
    const account = this.#of(host);
    account.balanceMs -= tookMs;
    this.#accounts.delete(host);
    this.#accounts.set(host, account);
    if (this.#accounts.size > MAX_HOSTS) this.#accounts.delete(this.#accounts.keys().next().value ?? "");
  }

  #of(host: string): Account {
    const now = this.#clock.monotonicMs();
    const account = this.#accounts.get(host);
    if (!account) return { balanceMs: BURST_MS, at: now };
    account.balanceMs = Math.min(BURST_MS, account.balanceMs + (now - account.at) * SHARE);
    account.at = now;
    return account;
  }
}
