import type { Clock } from "../core/clock.ts";
import { LimitAlarms, type LimitHit } from "../wire/limit-alarms.ts";
import { networkOf } from "../wire/zmtp/peer-address.ts";
import type { KeyRecord } from "./key-record.ts";
import { Throttle } from "./leases/throttle.ts";

/** Most pending keys by default, and which part of them one network may have. */
const MAX_PENDING = 1000;
const PART_OF_NETWORK = 10;
/** Each key that comes leaves a record in the audit log: keys of one network that push out others of it, and of all such. */
const OF_NETWORK = { burst: 10, everyMs: 60_000 };
const OF_CROWDED = { burst: 100, everyMs: 10_000 };
/** Keys of networks with fewer than the fullest, which push out one of it: of one network, and of all. */
const OF_OTHER = { burst: 2, everyMs: 60_000 };
const OF_OTHERS = { burst: 1000, everyMs: 1000 };

/**
 * Who of the keys that wait for a decision makes room for one more. A network has a tenth of the room, and a flood pushes out its own: of
 * the network with most of them the one that asked longest ago, never one of a network that has fewer than the newcomer's.
 */
export class PendingKeys {
  readonly #max: number;
  readonly #alarms: LimitAlarms;
  readonly #ofNetwork: Throttle;
  readonly #ofCrowded: Throttle;
  readonly #ofOther: Throttle;
  readonly #ofOthers: Throttle;

  constructor(clock: Clock, tell: (hit: LimitHit) => void, max = MAX_PENDING) {
    this.#max = max;
    this.#alarms = new LimitAlarms(clock, tell);
    this.#ofNetwork = new Throttle(OF_NETWORK.burst, OF_NETWORK.everyMs, clock);
    this.#ofCrowded = new Throttle(OF_CROWDED.burst, OF_CROWDED.everyMs, clock);
    this.#ofOther = new Throttle(OF_OTHER.burst, OF_OTHER.everyMs, clock);
    this.#ofOthers = new Throttle(OF_OTHERS.burst, OF_OTHERS.everyMs, clock);
  }

  /** Who leaves for a key from this address: nobody, one, or undefined when the newcomer is not taken now. */
  room(pending: readonly KeyRecord[], address: string): readonly KeyRecord[] | undefined {
    const networks = Map.groupBy(pending, (key) => networkOf(key.address));
    const network = networkOf(address);
    const own = networks.get(network) ?? [];
    const isCrowded = address !== "" && own.length >= Math.ceil(this.#max / PART_OF_NETWORK);
    if (pending.length < this.#max && !isCrowded) return [];
    this.#alarms.hit("pending-keys", address);
    const fullest = [...networks.values()].reduce((a, b) => (b.length > a.length ? b : a), own);
    const crowd = isCrowded ? own : fullest;
    return this.#mayPushOut(network, crowd === own) ? longestAgo(crowd) : undefined;
  }

  #mayPushOut(network: string, isOwn: boolean): boolean {
    if (!isOwn) return this.#ofOther.take(network) !== undefined && this.#ofOthers.take("") !== undefined;
    return this.#ofNetwork.take(network) !== undefined && this.#ofCrowded.take("") !== undefined;
  }
}

function longestAgo(keys: readonly KeyRecord[]): readonly KeyRecord[] {
  const [oldest] = keys.toSorted((a, b) => a.lastSeen - b.lastSeen || a.firstSeen - b.firstSeen);
  return oldest === undefined ? [] : [oldest];
}
