import type { Clock } from "../core/clock.ts";
import type { PublicIdentity } from "../core/identity.ts";
import type { Drops } from "./drop-counters.ts";
import { encodeCookieHint, type Opening } from "./frames.ts";
import { OpeningCookies } from "./opening-cookie.ts";
import { OpeningLanes } from "./opening-lanes.ts";
import type { OpeningTickets } from "./opening-ticket.ts";
import { TokenBuckets } from "../core/token-buckets.ts";

/**
 * Openings that are served in one turn of the event loop, all and of peers without a ticket: what live sessions have sent is worked
 * on before each. Hosts with a ticket have a bound of their own, and come all at once after a power cut.
 */
const A_TURN = { all: 16, unknown: 4 };
/** Openings of peers without a ticket: so many at once, then so many a second, a tenth of a core. */
const UNKNOWN = { burst: 256, aSecond: 400 };
/** Openings with a ticket, of one id: a stolen or replayed ticket is worth no more than this. */
const KNOWN = { burst: 32, aSecond: 16 };
/** Of all ids together: recorded openings of many hosts can be sent again by anybody. A fleet of 10,000 is back in seconds all the same. */
const ALL_KNOWN = { burst: 4096, aSecond: 1000 };
/** There is load when so many of peers without a ticket wait, or came within a second, or the next of them waits for so long. */
const LOAD = { waiting: 32, aSecond: 200, waitedMs: 50 };
/** Load is over when there was no sign of it for so long. */
const CALM_MS = 5000;

/** What the reception works with. */
export interface ReceptionOptions {
  readonly clock: Clock;
  readonly drops: Drops;
  readonly tickets: OpeningTickets;
  /** undefined when the connection is over. */
  readonly addressOf: (route: Buffer) => string | undefined;
  readonly holder: (minionId: string) => PublicIdentity | undefined;
  readonly send: (route: Buffer, frame: Uint8Array) => Promise<boolean>;
  /** Does the handshake's arithmetic. */
  readonly serve: (route: Buffer, opening: Opening) => Promise<void>;
  readonly report: (message: string, error: unknown) => void;
  /** Runs a step in a later turn of the event loop; for tests. */
  readonly later?: (step: () => void) => void;
}

/**
 * Where openings arrive, so that who is not known yet costs almost nothing: known hosts are told by their tickets and go first, up to a share;
 * all others cost a MAC and no memory while there is load, until they come back with the cookie they were sent; and what is
 * served is bounded, a turn and a second.
 */
export class Reception {
  readonly #options: ReceptionOptions;
  readonly #cookies: OpeningCookies;
  readonly #lanes: OpeningLanes<{ readonly route: Buffer; readonly opening: Opening }>;
  readonly #known: TokenBuckets;
  readonly #allKnown: TokenBuckets;
  readonly #unknown: TokenBuckets;
  readonly #arrivals: TokenBuckets;
  readonly #later: (step: () => void) => void;
  #isPumping = false;
  #loadedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ReceptionOptions) {
    const { clock } = options;
    this.#options = options;
    this.#cookies = new OpeningCookies(clock);
    this.#lanes = new OpeningLanes(clock);
    this.#known = new TokenBuckets(KNOWN.burst, KNOWN.aSecond, clock);
    this.#allKnown = new TokenBuckets(ALL_KNOWN.burst, ALL_KNOWN.aSecond, clock);
    this.#unknown = new TokenBuckets(UNKNOWN.burst, UNKNOWN.aSecond, clock);
    this.#arrivals = new TokenBuckets(LOAD.aSecond, LOAD.aSecond, clock);
    this.#later = options.later ?? ((step) => setImmediate(step));
  }

  /** Openings that wait. */
  get size(): number {
    return this.#lanes.known + this.#lanes.unknown;
  }

  /** An opening came in. */
  async arrive(route: Buffer, opening: Opening): Promise<void> {
    const { drops, addressOf, send } = this.#options;
    const entry = { route, opening };
    let hasRoom: boolean;
    if (this.#isKnown(opening)) {
      hasRoom = this.#lanes.addKnown(entry);
    } else {
      const address = addressOf(route);
      if (address === undefined) return;
      if (this.#isLoaded() && !this.#cookies.check(address, opening)) {
        drops.add("cookie-asked");
        await send(route, encodeCookieHint(this.#cookies.make(address, opening)));
        return;
      }
      hasRoom = this.#lanes.addUnknown(address, entry);
    }
    if (hasRoom) this.#pump();
    else drops.add("crowded");
  }

  /** Whether it shows a ticket that is its own, and neither it nor all together were shown too often; else it is as good as a stranger. */
  #isKnown({ minionId, ticket }: Opening): boolean {
    if (ticket.length === 0) return false;
    const holder = this.#options.holder(minionId);
    const isOwn = this.#options.tickets.check(ticket, minionId, holder);
    return isOwn && this.#known.take(minionId) && this.#allKnown.take("");
  }

  /** Counts one more peer without a ticket. */
  #isLoaded(): boolean {
    const now = this.#options.clock.monotonicMs();
    const isMany = !this.#arrivals.take("");
    if (isMany || this.#lanes.unknown >= LOAD.waiting || this.#lanes.waitedMs >= LOAD.waitedMs) this.#loadedAt = now;
    return now - this.#loadedAt < CALM_MS;
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.#later(() => this.#turn());
  }

  #turn(): void {
    const { clock, serve, report } = this.#options;
    let unknown = 0;
    for (let served = 0; served < A_TURN.all; served += 1) {
      const next = this.#lanes.take(unknown < A_TURN.unknown && this.#unknown.has(""));
      if (next === undefined) break;
      if (!next.isKnown) {
        this.#unknown.take("");
        unknown += 1;
      }
      serve(next.value.route, next.value.opening).catch((error: unknown) => report("cannot shake hands", error));
    }
    this.#isPumping = false;
    if (this.#lanes.known > 0 || (this.#lanes.unknown > 0 && this.#unknown.has(""))) {
      this.#pump();
    } else if (this.#lanes.unknown > 0) {
      this.#isPumping = true;
      void clock.sleep(1000 / UNKNOWN.aSecond).then(() => this.#turn());
    }
  }
}
