import type { Clock } from "../core/clock.ts";
import { HALF_OPEN_MS } from "./limits.ts";

/** Openings that wait: of hosts with a ticket, of all others, of the latter from one network. */
export const MAX_KNOWN_WAITING = 16_384;
export const MAX_UNKNOWN_WAITING = 1024;
const MAX_OF_NETWORK = 64;
/** Hosts with a ticket are served first, and after so many of them one of the others. */
const KNOWN_IN_A_ROW = 8;

interface Waiting<T> {
  readonly since: number;
  readonly value: T;
}

/**
 * Openings on their way to be served, in two bounded lanes. The lane of known hosts goes first and never holds up the other
 * wholly; in the other one networks take turns, so that a flood from one of them costs the rest one place in the row each.
 */
export class OpeningLanes<T> {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #known: Waiting<T>[] = [];
  // the network whose turn is next comes first
  readonly #unknown = new Map<string, Waiting<T>[]>();
  #unknownSize = 0;
  #knownInARow = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Waiting in the lane of known hosts. */
  get known(): number {
    return this.#known.length;
  }

  /** Waiting in the other one. */
  get unknown(): number {
    return this.#unknownSize;
  }

  /** How long the one that is next in the lane of unknown peers has been waiting. */
  get waitedMs(): number {
    const [first] = this.#unknown.values();
    return first?.[0] === undefined ? 0 : this.#clock.monotonicMs() - first[0].since;
  }

  /** Takes one in; false when there is no room. */
  addKnown(value: T): boolean {
    if (this.#known.length >= MAX_KNOWN_WAITING) return false;
    this.#known.push({ since: this.#clock.monotonicMs(), value });
    return true;
  }

  /** As `addKnown`, for a peer at this address; the newest of the fullest network makes room for one of a network with fewer. */
  addUnknown(address: string, value: T): boolean {
    const network = networkOf(address);
    const own = this.#unknown.get(network) ?? [];
    if (own.length >= MAX_OF_NETWORK) return false;
    if (this.#unknownSize >= MAX_UNKNOWN_WAITING && !this.#makeRoom(own.length)) return false;
    own.push({ since: this.#clock.monotonicMs(), value });
    this.#unknown.set(network, own);
    this.#unknownSize += 1;
    return true;
  }

  /** The next one whose peer still waits for it; `mayUnknown` says whether it may be one without a ticket. */
  take(mayUnknown: boolean): { readonly value: T; readonly isKnown: boolean } | undefined {
    for (;;) {
      const isKnown = this.#known.length > 0 && !(mayUnknown && this.#unknownSize > 0 && this.#isOthersTurn());
      const next = isKnown ? this.#known.shift() : mayUnknown ? this.#nextUnknown() : undefined;
      if (next === undefined) return undefined;
      this.#knownInARow = isKnown ? this.#knownInARow + 1 : 0;
      if (this.#clock.monotonicMs() - next.since <= HALF_OPEN_MS) return { value: next.value, isKnown };
    }
  }

  #isOthersTurn(): boolean {
    return this.#knownInARow >= KNOWN_IN_A_ROW;
  }

  #nextUnknown(): Waiting<T> | undefined {
    for (const [network, waiting] of this.#unknown) {
      const next = waiting.shift();
      this.#unknown.delete(network);
      if (waiting.length > 0) this.#unknown.set(network, waiting);
      if (next !== undefined) this.#unknownSize -= 1;
      return next;
    }
    return undefined;
  }

  #makeRoom(ofNewcomer: number): boolean {
    let fullest: Waiting<T>[] = [];
    for (const waiting of this.#unknown.values()) if (waiting.length > fullest.length) fullest = waiting;
    if (fullest.length <= ofNewcomer + 1) return false;
    fullest.pop();
    this.#unknownSize -= 1;
    return true;
  }
}

/** What one subscriber of a network has for itself: an IPv4 address, or the first half of an IPv6 one. */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  return [...groups, ...Array.from({ length: zeros }, () => "0"), ...after].slice(0, 4).join(":");
}
