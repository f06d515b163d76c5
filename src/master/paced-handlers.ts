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
/** Requests that take the master long to answer, while others wait. */
const COSTLY: ReadonlySet<Method> = new Set<Method>(["files.list", "pillar"]);
const COSTLY_PACE = { burst: 100, everyMs: 500 };
/** Of one host: far more than its start with hundreds of volumes takes, then a few a second. */
const PACE = { burst: 5000, everyMs: 500 };

/**
 * The same handlers, with what one host may have written for good bounded in time: a hostile one would fill the disk of the
 * master, which then releases no key to anybody (I4). And what costs the master time. What is too much gets TransportError `busy`, and the host asks again.
 */
export function pacedHandlers(handlers: MasterHandlers, clock: Clock): MasterHandlers {
  const lasting = new Throttle(PACE.burst, PACE.everyMs, clock);
  const costly = new Throttle(COSTLY_PACE.burst, COSTLY_PACE.everyMs, clock);
  const pace = (method: Method) => (LASTING.has(method) ? lasting : COSTLY.has(method) ? costly : undefined);
  return {
    ...handlers,
    request: async (session, method, body) => {
      const throttle = pace(method);
      if (throttle !== undefined && throttle.take(session.minionId) === undefined) {
        throw new TransportError("busy", `cannot serve "${session.minionId}" now: it asks for too much at once`);
      }
      return handlers.request(session, method, body);
    },
  };
}
