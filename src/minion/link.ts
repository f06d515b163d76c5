import type { Clock } from "../core/clock.ts";
import { TransportError } from "../core/errors.ts";
import type { ConnectionState, MasterConnection } from "../wire/endpoints.ts";
import type { Method, Request, Response } from "../wire/messages.ts";

/** How long to go on asking. */
export interface Patience {
  /** Milliseconds from the first try; Infinity for as long as it takes. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Hears, in words, that there is a wait; once a wait. */
  readonly onWait?: (reason: string) => void;
}

/** A connection as the rest of the minion uses it: requests that may be repeated outlast a lost connection. */
export interface Link {
  readonly connection: MasterConnection;
  /** One request, tried again on every new session until it is answered, the time is up, or it is refused. */
  ask<M extends Method>(method: M, body: Request<M>, patience: Patience): Promise<Response<M>>;
  /**
   * Calls `attempt` on a live session, again after each TransportError, until the time is up (then the TransportError
   * is thrown).
   */
  persist<T>(patience: Patience, attempt: (connection: MasterConnection) => Promise<T>): Promise<T>;
}

/** Between two tries on a session that is up but gave no answer. */
const AGAIN_MIN_MS = 100;
const AGAIN_MAX_MS = 5000;

/** Wraps a connection; `random` (0 to below 1) spreads the tries. */
export function createLink(connection: MasterConnection, clock: Clock, random: () => number): Link {
  const persist: Link["persist"] = async ({ waitMs, signal, onWait }, attempt) => {
    const deadline = clock.monotonicMs() + waitMs;
    let pauseMs = AGAIN_MIN_MS;
    let told = false;
    const wait = (reason: string) => {
      if (!told) onWait?.(reason);
      told = true;
    };
    for (;;) {
      signal.throwIfAborted();
      if (connection.state.kind !== "connected") wait("the master cannot be reached");
      await readyBefore(connection, deadline - clock.monotonicMs(), clock, signal);
      try {
        return await attempt(connection);
      } catch (thrown) {
        if (!(thrown instanceof TransportError) || signal.aborted) throw thrown;
        if (clock.monotonicMs() + pauseMs >= deadline) throw thrown;
        wait("the master does not answer");
        await clock.sleep(pauseMs * (0.5 + random()), signal);
        pauseMs = Math.min(pauseMs * 2, AGAIN_MAX_MS);
      }
    }
  };
  return {
    connection,
    persist,
    ask: (method, body, patience) =>
      persist(patience, (live) => live.request(method, body, { signal: patience.signal })),
  };
}

/** Waits for a session that has been greeted (hello answered), not longer than `waitMs`. */
async function readyBefore(connection: MasterConnection, waitMs: number, clock: Clock, signal: AbortSignal) {
  if (waitMs === Number.POSITIVE_INFINITY) return connection.ready(signal);
  const stop = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = clock.sleep(Math.max(0, waitMs), AbortSignal.any([signal, stop.signal])).then(
    () => late.reject(new TransportError("no-master", `cannot reach the master: ${stateText(connection.state)}`)),
    () => undefined,
  );
  try {
    return await Promise.race([connection.ready(signal), late.promise]);
  } finally {
    stop.abort();
    await timer;
  }
}

/** Where a connection stands, for a log or an error. */
export function stateText(state: ConnectionState): string {
  switch (state.kind) {
    case "connecting":
      return `connecting to the master at ${state.address}`;
    case "waiting-for-acceptance":
      return `waiting for the master at ${state.address} to accept this key: fingerprint ${state.fingerprint}`;
    case "wrong-master":
      return `the master at ${state.address} is not the one expected: it shows ${state.found}, expected is ${state.expected}`;
    case "connected":
      return `connected to the master at ${state.address}`;
    case "disconnected":
      return `no session: ${state.reason}; trying again`;
    default:
      return state satisfies never;
  }
}
