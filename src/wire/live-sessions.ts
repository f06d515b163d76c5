import { CROWD_OF_MINION, MAX_SESSIONS_OF_MINION, IDLE_AFTER_MS } from "./limits.ts";
import type { LiveSession } from "./live-session.ts";

/** Every live session of the master, by its id on the wire and by its minion. */
export class LiveSessions {
  readonly #byWireId = new Map<string, LiveSession>();
  readonly #byMinion = new Map<string, Set<LiveSession>>();

  get(wireId: string): LiveSession | undefined {
    return this.#byWireId.get(wireId);
  }

  /** All of them, oldest first. */
  all(): Iterable<LiveSession> {
    return this.#byWireId.values();
  }

  /** Those of one minion, oldest first. */
  of(minionId: string): readonly LiveSession[] {
    return [...(this.#byMinion.get(minionId) ?? [])];
  }

  /**
   * Takes a new one in. Of a minion with many the one that is silent for longest ends, if it is silent for long and no
   * agent's: ending those that speak would only have them come back and end each other. False when there are too many.
   */
  add(session: LiveSession): boolean {
    const own = this.#byMinion.get(session.minionId) ?? new Set();
    if (own.size >= CROWD_OF_MINION) {
      const idlest = idlestOf(own);
      if (own.size >= MAX_SESSIONS_OF_MINION && !idlest) return false;
      idlest?.close();
    }
    own.add(session);
    this.#byMinion.set(session.minionId, own);
    this.#byWireId.set(session.wireId, session);
    return true;
  }

  remove(session: LiveSession): void {
    this.#byWireId.delete(session.wireId);
    const own = this.#byMinion.get(session.minionId);
    own?.delete(session);
    if (own?.size === 0) this.#byMinion.delete(session.minionId);
  }
}

/** The one that is silent for longest, if it is silent for long and no agent's. */
function idlestOf(sessions: Iterable<LiveSession>): LiveSession | undefined {
  let idlest: LiveSession | undefined;
  let longest = IDLE_AFTER_MS;
  for (const session of sessions) {
    const { silentMs } = session;
    if (session.isAgent || silentMs <= longest) continue;
    idlest = session;
    longest = silentMs;
  }
  return idlest;
}
