import type { ConnectionCounts } from "../endpoints.ts";

/** How many connections there may be. */
export interface CrowdBounds {
  /** In all. */
  readonly all: number;
  /** Without a session. */
  readonly strangers: number;
  /** Without a session, of one network. */
  readonly strangersOfNetwork: number;
}

/** Who is in a crowd. */
export interface Member {
  /** Seconds since it came. */
  readonly age: number;
}

/** In a network that is full one that has been idle for so long makes room, a younger one does not. */
const PATIENCE = 2;

/**
 * Who may be connected. Those with a session are pushed out by nobody; of those without, when it is full, the oldest of the
 * most crowded network makes room: whoever comes from one address is in nobody's way.
 */
export class Crowd<T extends Member> {
  readonly #bounds: CrowdBounds;
  // a network's strangers, oldest first
  readonly #networks = new Map<string, Set<T>>();
  // networks by how many strangers they have
  readonly #bySize = new Map<number, Set<string>>();
  #mostOfOne = 0;
  #strangers = 0;
  #settled = 0;

  constructor(bounds: CrowdBounds) {
    this.#bounds = bounds;
  }

  counts(): ConnectionCounts {
    return { sessions: this.#settled, strangers: this.#strangers, most: this.#bounds.all };
  }

  /** Who must leave before one more of this network may come, "nobody" when there is room, "itself" when there is none. */
  whoLeavesFor(network: string): T | "nobody" | "itself" {
    const own = this.#networks.get(network);
    if (own && own.size >= this.#bounds.strangersOfNetwork) {
      const oldest = first(own);
      return oldest && oldest.age >= PATIENCE ? oldest : "itself";
    }
    if (this.#strangers < this.#bounds.strangers && this.#strangers + this.#settled < this.#bounds.all) return "nobody";
    const [crowded = ""] = this.#bySize.get(this.#mostOfOne) ?? [];
    return first(this.#networks.get(crowded) ?? new Set<T>()) ?? "itself";
  }

  /** One more without a session. */
  enter(member: T, network: string): void {
    const own = this.#networks.get(network) ?? new Set();
    this.#networks.set(network, own.add(member));
    this.#strangers += 1;
    this.#resized(network, own.size - 1, own.size);
  }

  /** It has a session from now on. */
  settle(member: T, network: string): void {
    if (this.#take(member, network)) this.#settled += 1;
  }

  /** It is gone. */
  leave(member: T, network: string): void {
    if (!this.#take(member, network)) this.#settled -= 1;
  }

  /** Takes a stranger out; false when it is none. */
  #take(member: T, network: string): boolean {
    const own = this.#networks.get(network);
    if (!own?.delete(member)) return false;
    if (own.size === 0) this.#networks.delete(network);
    this.#strangers -= 1;
    this.#resized(network, own.size + 1, own.size);
    return true;
  }

  #resized(network: string, from: number, to: number): void {
    const before = this.#bySize.get(from);
    before?.delete(network);
    if (before?.size === 0) this.#bySize.delete(from);
    if (to > 0) this.#bySize.set(to, (this.#bySize.get(to) ?? new Set()).add(network));
    if (to > this.#mostOfOne) this.#mostOfOne = to;
    else if (from === this.#mostOfOne && !this.#bySize.has(from)) this.#mostOfOne = to;
  }
}

function first<T>(members: Set<T>): T | undefined {
  const [member] = members;
  return member;
}
