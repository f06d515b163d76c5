import type { Clock } from "../core/clock.ts";
import { MAX_ITEMS } from "./limits.ts";

/** Messages with fewer items cost no more than their way through the socket. */
const FREE_ITEMS = 50;
/** Items of one minion that are decoded at once, then so many a second: a few returns of the largest kind. */
const BURST_ITEMS = 2 * MAX_ITEMS;
const ITEMS_A_SECOND = MAX_ITEMS / 2;
/** What one minion's requests may take in memory while they are worked on, by a rough price of an item. */
const MAX_WEIGHT = 64 * 1024 * 1024;
const ITEM_WEIGHT = 50;
const MAX_MINIONS = 20_000;

interface Account {
  items: number;
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

  /** Whether a message of so many items may be decoded now. */
  mayDecode(minionId: string, items: number): boolean {
    if (items <= FREE_ITEMS) return true;
    const now = this.#clock.monotonicMs();
    const account = this.#account(minionId, now);
    account.items = Math.min(BURST_ITEMS, account.items + ((now - account.at) / 1000) * ITEMS_A_SECOND);
    account.at = now;
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

  #account(minionId: string, now: number): Account {
    const account = this.#accounts.get(minionId) ?? { items: BURST_ITEMS, at: now, weight: 0 };
    this.#accounts.delete(minionId);
    this.#accounts.set(minionId, account);
    if (this.#accounts.size > MAX_MINIONS) this.#accounts.delete(this.#accounts.keys().next().value ?? "");
    return account;
  }
}
