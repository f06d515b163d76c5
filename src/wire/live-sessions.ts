import { MAX_SESSIONS_OF_MINION } from "./limits.ts";
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

  /** Takes a new one in. Of a minion with too many the oldest that is no agent's ends. */
  add(session: LiveSession): void {
    const others = this.of(session.minionId);
    if (others.length >= MAX_SESSIONS_OF_MINION) (others.find(({ isAgent }) => !isAgent) ?? others[0])?.close();
    this.#byWireId.set(session.wireId, session);
    this.#byMinion.set(session.minionId, new Set([...this.of(session.minionId), session]));
  }

  remove(session: LiveSession): void {
    this.#byWireId.delete(session.wireId);
    const own = this.#byMinion.get(session.minionId);
    own?.delete(session);
    if (own?.size === 0) this.#byMinion.delete(session.minionId);
  }
}
