import type { Clock } from "../core/clock.ts";
import { MAX_ITEMS } from "./limits.ts";
import { microsecondsOf, type Price } from "./prices.ts";

/** Messages with fewer items cost no more than their way through the socket. */
const FREE_ITEMS = 50;
/** Items of one minion that are decoded at once, then so many a second: a few returns of the largest kind. */
const BURST_ITEMS = 2 * MAX_ITEMS;
const ITEMS_A_SECOND = MAX_ITEMS / 2;
/** What one minion's requests may take in memory while they are worked on, by a rough price of an item. */
const MAX_WEIGHT = 64 * 1024 * 1024;
const ITEM_WEIGHT = 50;
const MAX_MINIONS = 20_000;
/** Time of the master's event loop that one minion may take at once, then so much of each second. */
const BURST_US = 10_000_000;
const US_A_SECOND = 100_000;
/** Bytes that one minion may have kept at once, then so many a second. */
const BURST_BYTES = 32 * 1024 * 1024;
const BYTES_A_SECOND = 128 * 1024;

interface Account {
  items: number;
  us: number;
  bytes: number;
  at: number;
  weight: number;
}

/** What requests of one minion, on all its sessions, may cost the master: all others wait while one is decoded. */
export class RequestBudget {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #accounts = new Map<string, Account>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Takes the price of a request of so many bytes from what its minion has left; false, and nothing taken, when that is less. */
  charge(minionId: string, price: Price, bytes: number): boolean {
    const account = this.#account(minionId, this.#clock.monotonicMs());
    const us = microsecondsOf(price, bytes);
    const kept = price.pace === "kept" ? bytes : 0;
    if (account.us < us || account.bytes < kept) return false;
    account.us -= us;
    account.bytes -= kept;
    return true;
  }

  /** Whether a message of so many items may be decoded now. */
  mayDecode(minionId: string, items: number): boolean {
    if (items <= FREE_ITEMS) return true;
    const account = this.#account(minionId, this.#clock.monotonicMs());
    if (account.items < items) return false;
    account.items -= items;
    return true;
  }

  /** Whether a request may be worked on now; what ends that, to be called once, or undefined when it may not. */
  begin(minionId: string, bytes: number, items: number): (() => void) | undefined {
    const account = this.#account(minionId, this.#clock.monotonicMs());
    const weight = bytes + items * ITEM_WEIGHT;
    if (account.weight > 0 && account.weight + weight > MAX_WEIGHT) return undefined;
    account.weight += weight;
    return () => {
      account.weight -= weight;
    };
  }

  /** What a minion has left by now. */
  #account(minionId: string, now: number): Account {
    const full = { items: BURST_ITEMS, us: BURST_US, bytes: BURST_BYTES, at: now, weight: 0 };
    const account = this.#accounts.get(minionId) ?? full;
    const seconds = (now - account.at) / 1000;
    account.items = Math.min(BURST_ITEMS, account.items + seconds * ITEMS_A_SECOND);
    account.us = Math.min(BURST_US, account.us + seconds * US_A_SECOND);
    account.bytes = Math.min(BURST_BYTES, account.bytes + seconds * BYTES_A_SECOND);
    account.at = now;
    this.#accounts.delete(minionId);
    this.#accounts.set(minionId, account);
    if (this.#accounts.size > MAX_MINIONS) this.#accounts.delete(this.#accounts.keys().next().value ?? "");
    return account;
  }
}
