import { CROWD_OF_MINION, MAX_SESSIONS_OF_MINION, PROBE_AFTER_MS } from "./limits.ts";
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
    const others = this.of(session.minionId);
    const isIdle = ({ isAgent, silentMs }: LiveSession) => !isAgent && silentMs > PROBE_AFTER_MS;
    const [idlest] = others.filter(isIdle).toSorted((a, b) => b.silentMs - a.silentMs);
    if (others.length >= CROWD_OF_MINION) idlest?.close();
    if (others.length >= MAX_SESSIONS_OF_MINION && !idlest) return false;
    this.#byWireId.set(session.wireId, session);
    this.#byMinion.set(session.minionId, new Set([...this.of(session.minionId), session]));
    return true;
  }

  remove(session: LiveSession): void {
    this.#byWireId.delete(session.wireId);
    const own = this.#byMinion.get(session.minionId);
    own?.delete(session);
    if (own?.size === 0) this.#byMinion.delete(session.minionId);
  }
}
