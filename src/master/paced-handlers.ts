import type { Clock } from "../core/clock.ts";
import { TransportError } from "../core/errors.ts";
import type { MasterHandlers } from "../wire/endpoints.ts";
import { type Pace, PRICES } from "../wire/prices.ts";
import { Throttle } from "./leases/throttle.ts";

/** Requests of one host that compile or read much. */
const COSTLY_PACE = { burst: 100, everyMs: 500 };
/** Requests of one host that leave a record: far more than its start with hundreds of volumes takes, then a few a second. */
const PACE = { burst: 5000, everyMs: 500 };

/**
 * The same handlers, with what one host may have written for good bounded in time: a hostile one would fill the disk of the
 * master, which then releases no key to anybody (I4). And what costs the master time. What is too much gets TransportError `busy`, and the host asks again.
 */
export function pacedHandlers(handlers: MasterHandlers, clock: Clock): MasterHandlers {
  const lasting = new Throttle(PACE.burst, PACE.everyMs, clock);
  const costly = new Throttle(COSTLY_PACE.burst, COSTLY_PACE.everyMs, clock);
  const throttles: Readonly<Record<Pace, Throttle | undefined>> = {
    kept: undefined,
    none: undefined,
    record: lasting,
    work: costly,
  };
  return {
    ...handlers,
    request: async (session, method, body) => {
      const throttle = throttles[PRICES[method].pace];
      if (throttle !== undefined && throttle.take(session.minionId) === undefined) {
        throw new TransportError("busy", `cannot serve "${session.minionId}" now: it asks for too much at once`);
      }
      return handlers.request(session, method, body);
    },
  };
}
