import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { PeerSession } from "../wire/endpoints.ts";
import type { EventBus } from "./events.ts";
import { Throttle } from "./leases/throttle.ts";

/** A host that lost its connection comes back once or twice; two machines throw each other out again and again. */
const OFTEN = { burst: 3, everyMs: 60_000 };
const TOLD = { burst: 1, everyMs: 600_000 };

/** What noticing it rests on. */
export interface ContestedOptions {
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Notices two machines that have the same id and key (a copied disk image): each new session ends the other's. */
export class Contested {
  readonly #options: ContestedOptions;
  readonly #often: Throttle;
  readonly #told: Throttle;

  constructor(options: ContestedOptions) {
    this.#options = options;
    this.#often = new Throttle(OFTEN.burst, OFTEN.everyMs, options.clock);
    this.#told = new Throttle(TOLD.burst, TOLD.everyMs, options.clock);
  }

  /** A live session of an agent ended because another one of the same minion began. */
  replaced(before: PeerSession, by: PeerSession): void {
    const id = by.minionId;
    if (this.#often.take(id) !== undefined || this.#told.take(id) === undefined) return;
    const { events, log } = this.#options;
    const facts = { id, addresses: [...new Set([before.address, by.address])] };
    events.emit(`session/contested/${id}`, facts);
    log.warn(facts, "two machines seem to use the key of this minion: each ends the other's session");
  }
}
