import type { DropCounters } from "./endpoints.ts";
import type { CutOff } from "./zmtp/cut-off.ts";

/** Why a frame was dropped. One word a cause, so that an operator sees an attack from a mistake. */
export type DropReason =
  /** Not one frame of the protocol: too short, unknown kind. */
  | "garbage"
  /** Another protocol version. */
  | "version"
  /** A session that does not exist (any more). */
  | "unknown-session"
  /** A session's frame from another connection than the session's own. */
  | "wrong-route"
  /** A counter, job number or handshake seen before, or out of order. */
  | "replayed"
  /** Not sealed with the session's key, or changed on the way. */
  | "bad-seal"
  /** A handshake that does not hold: wrong lengths, keys, signature, id. */
  | "bad-handshake"
  /** An opening that was answered with a cookie, because there was load. */
  | "cookie-asked"
  /** An opening for which there was no room among those that wait. */
  | "crowded"
  /** A handshake that nobody finished in time, or pushed out by newer ones. */
  | "half-open"
  /** Sealed well, but no message that the schemas know. */
  | "bad-message"
  /** A job without the master's signature. */
  | "bad-signature"
  /** A connection that was not let in or had to make room, or that was cut off, and why. */
  | CutOff
  /** An answer that could not be delivered: its reader is too slow or gone. */
  | "undelivered";

/** Counts dropped frames by reason. */
export class Drops {
  readonly #counts = new Map<DropReason, number>();

  add(reason: DropReason): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
  }

  snapshot(): DropCounters {
    return Object.fromEntries(this.#counts);
  }
}
