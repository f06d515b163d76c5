import type { Clock } from "../core/clock.ts";
import { TransportError } from "../core/errors.ts";
import type { MasterHandlers } from "../wire/endpoints.ts";
import type { Method } from "../wire/messages.ts";
import { Throttle } from "./leases/throttle.ts";

/** Requests that leave a record in the audit log, or bytes in the store, each time. */
const LASTING: ReadonlySet<Method> = new Set<Method>([
  "header.get",
  "header.store",
  "lease",
  "lease.receipt",
  "volume.erased",
  "volume.forget",
  "volume.rotation",
]);
/** Of one host: far more than its start with hundreds of volumes takes, then a few a second. */
const PACE = { burst: 5000, everyMs: 500 };

/**
 * The same handlers, with what one host may have written for good bounded in time: a hostile one would fill the disk of the
 * master, which then releases no key to anybody (I4). What is too much gets TransportError `busy`, and the host asks again.
 */
export function pacedHandlers(handlers: MasterHandlers, clock: Clock): MasterHandlers {
  const throttle = new Throttle(PACE.burst, PACE.everyMs, clock);
  return {
    ...handlers,
    request: async (session, method, body) => {
      if (LASTING.has(method) && throttle.take(session.minionId) === undefined) {
        throw new TransportError("busy", `cannot serve "${session.minionId}" now: it asks for too much at once`);
      }
      return handlers.request(session, method, body);
    },
  };
}
