import type { Clock } from "../core/clock.ts";
import { MAX_UNCLAIMED_ADDRESSES, UNCLAIMED_ADDRESS_MS } from "./limits.ts";

const ROUTE = /^[0-9a-f]{32}$/u;

/**
 * Which address is behind which route. ROUTER hands over frames with their route alone; a minion therefore names its
 * random route once more when it connects, and at that moment the address is known. A route keeps the first address it
 * was seen with: as long as it is fresh or has a session, nobody else can connect under its name. Entries without a
 * session are bounded in number and age.
 */
export class PeerAddresses {
  readonly #clock: Clock;
  // insertion order is age
  readonly #unclaimed = new Map<string, { readonly since: number; readonly address: string }>();
  readonly #claimed = new Map<string, string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Routes known, with a session and without. */
  get size(): number {
    return this.#unclaimed.size + this.#claimed.size;
  }

  /** A connection that says its route. False, and it must be turned away: the name is none, or another's. */
  connecting(route: string, address: string): boolean {
    this.expire();
    if (!ROUTE.test(route) || this.#claimed.has(route) || this.#unclaimed.has(route)) return false;
    if (this.#unclaimed.size >= MAX_UNCLAIMED_ADDRESSES) this.#forgetOldest();
    this.#unclaimed.set(route, { since: this.#clock.monotonicMs(), address: plainAddress(address) });
    return true;
  }

  /** The address behind a route, "" when nobody connected under that name (lately). */
  of(route: string): string {
    return this.#claimed.get(route) ?? this.#unclaimed.get(route)?.address ?? "";
  }

  /** The route has a session from now on: its address stays until `release`. */
  claim(route: string, address: string): void {
    this.#unclaimed.delete(route);
    this.#claimed.set(route, address);
  }

  /** The session on this route is over. */
  release(route: string): void {
    this.#claimed.delete(route);
  }

  /** Forgets those who connected and did not get a session in time. */
  expire(): void {
    const before = this.#clock.monotonicMs() - UNCLAIMED_ADDRESS_MS;
    for (const { since } of this.#unclaimed.values()) {
      if (since > before) return;
      this.#forgetOldest();
    }
  }

  #forgetOldest(): void {
    const oldest = this.#unclaimed.keys().next();
    if (!oldest.done) this.#unclaimed.delete(oldest.value);
  }
}

/** An address as the kernel says it, without a zone, and an IPv4 one in IPv6 clothes as the IPv4 one it is. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/iu, "").replace(/%.*$/u, "");
}
