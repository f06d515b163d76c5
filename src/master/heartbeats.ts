import type { Clock } from "../core/clock.ts";
import { AuthError, errorMessage } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { PeerSession } from "../wire/endpoints.ts";
import { verifyHeartbeat } from "../wire/heartbeat-signature.ts";
import type { Request } from "../wire/messages.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { Throttle } from "./leases/throttle.ts";

export interface HeartbeatsOptions {
  readonly audit: Pick<AuditLog, "append">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Bad heartbeats of one minion that are recorded: so many at once, then one in so many milliseconds. */
const REFUSALS = { burst: 3, everyMs: 60_000 };

/** Proves heartbeats one by one: only what the minion's own identity signed, once, on this session, says that it is there. */
export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  readonly #refusals: Throttle;
  readonly #counters = new WeakMap<PeerSession, number>();

  constructor(options: HeartbeatsOptions) {
    this.#options = options;
    this.#refusals = new Throttle(REFUSALS.burst, REFUSALS.everyMs, options.clock);
  }

  /**
   * Takes one heartbeat. Throws AuthError `heartbeat-signature` for one that is not signed by the session's minion, or
   * whose counter was there before; the session is closed then, and the refusal recorded.
   */
  async prove(session: PeerSession, body: Request<"heartbeat">): Promise<void> {
    const isNext = body.counter > (this.#counters.get(session) ?? 0);
    const isSigned = isNext && verifyHeartbeat(body, session.peer, session.handshakeHash);
    if (isSigned) {
      this.#counters.set(session, body.counter);
      return;
    }
    session.close();
    const reason = isNext ? "the signature is not by this minion on this session" : "its counter was there before";
    await this.#record(session, reason);
    throw new AuthError("heartbeat-signature", `cannot take a heartbeat of "${session.minionId}": ${reason}`);
  }

  /** Never throws: refused is refused. */
  async #record({ minionId, address }: PeerSession, reason: string): Promise<void> {
    const { audit, clock, log } = this.#options;
    const suppressed = this.#refusals.take(minionId);
    if (suppressed === undefined) return;
    log.warn({ id: minionId, address, reason, suppressed }, "heartbeat refused, session closed");
    const data = { reason, suppressed };
    try {
      const subject = { actor: minionId, subject: minionId, from: address };
      await audit.append({ at: clock.now(), kind: "heartbeat-refused", ...subject, data });
    } catch (error) {
      log.error({ id: minionId, err: errorMessage(error) }, "cannot record a refused heartbeat");
    }
  }
}
