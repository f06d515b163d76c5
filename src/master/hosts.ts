import { isDeepStrictEqual } from "node:util";
import { type Clock, systemClock } from "../core/clock.ts";
import type { LastHighstate, MinionStatus } from "../core/control-api.ts";
import type { JsonObject } from "../core/json.ts";
import { Lane } from "../core/lane.ts";
import type { PeerSession } from "../wire/endpoints.ts";
import type { Request } from "../wire/messages.ts";
import { HOSTS, type HostRecord, hostRecordSchema } from "./host-record.ts";
import { decodeRecord, putRecord } from "./store/record.ts";
import type { Change, Store, WriteResult } from "./store/store.ts";

/** Most bytes of grains (as JSON) that the master keeps of a minion. */
const MAX_GRAINS_BYTES = 256 * 1024;

interface Live {
  readonly session: PeerSession;
  /** Monotonic milliseconds: a clock that is set must not end every session at once. */
  lastSign: number;
  running: MinionStatus["running"];
}

/** Minions as the master last knew them: grains and last highstate (durable), live agent sessions (not). */
export class Hosts {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #lane = new Lane();
  readonly #records = new Map<string, HostRecord>();
  readonly #live = new Map<string, Live>();
  readonly #since = new Map<string, number>();

  private constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Reads what the store knows. */
  static async load(store: Store, clock: Clock = systemClock): Promise<Hosts> {
    const hosts = new Hosts(store, clock);
    for (const entry of await store.list(HOSTS)) {
      const record = decodeRecord(hostRecordSchema, entry);
      hosts.#records.set(record.id, record);
    }
    return hosts;
  }

  /** Last known grains; undefined for a minion that never said hello. */
  grains(id: string): JsonObject | undefined {
    return this.#records.get(id)?.grains;
  }

  /** The kernel's boot_id as the minion last said it; "" for one that never said hello. */
  bootId(id: string): string {
    return this.#records.get(id)?.bootId ?? "";
  }

  /** The live agent session of a minion that has said hello. */
  session(id: string): PeerSession | undefined {
    return this.#live.get(id)?.session;
  }

  /** Ids with a live agent session. */
  connectedIds(): readonly string[] {
    return [...this.#live.keys()];
  }

  /** Takes a hello in: from here on an agent is connected. An older agent session of the same id is closed. */
  async hello(session: PeerSession, hello: Request<"hello">): Promise<void> {
    const id = session.minionId;
    if (hello.role === "agent") {
      const before = this.#live.get(id)?.session;
      this.#live.set(id, { session, lastSign: this.#clock.monotonicMs(), running: [] });
      this.#since.set(id, this.#clock.now());
      if (before !== undefined && before !== session) before.close();
    }
    const fits = JSON.stringify(hello.grains).length <= MAX_GRAINS_BYTES;
    await this.#update(id, (record) => ({
      ...record,
      version: hello.version,
      bootId: hello.bootId,
      grains: fits ? hello.grains : record.grains,
    }));
  }

  /** Any request of an agent is a sign of life. */
  alive(session: PeerSession, running?: MinionStatus["running"]): void {
    const live = this.#live.get(session.minionId);
    if (live?.session !== session) return;
    live.lastSign = this.#clock.monotonicMs();
    if (running !== undefined) live.running = running;
  }

  /** The session is gone; true when it was the minion's live agent session. */
  closed(session: PeerSession): boolean {
    if (this.#live.get(session.minionId)?.session !== session) return false;
    this.#live.delete(session.minionId);
    this.#since.set(session.minionId, this.#clock.now());
    return true;
  }

  /** Agent sessions without a sign of life for `ms`. */
  silentFor(ms: number): readonly PeerSession[] {
    const before = this.#clock.monotonicMs() - ms;
    return [...this.#live.values()].filter(({ lastSign }) => lastSign < before).map(({ session }) => session);
  }

  /** Runs `write` with what makes a new last highstate durable; the summary shows once that is committed. */
  async noteHighstate(id: string, last: LastHighstate, write: (change: Change) => Promise<WriteResult>): Promise<void> {
    await this.#lane.run(async () => {
      const record: HostRecord = { ...(this.#records.get(id) ?? emptyRecord(id)), lastHighstate: last };
      const { kind } = await write(putRecord(`${HOSTS}${id}`, record));
      if (kind === "committed") this.#records.set(id, record);
    });
  }

  /** Forgets a minion whose key was deleted. */
  async forget(id: string): Promise<void> {
    await this.#lane.run(async () => {
      await this.#store.write([{ op: "delete", key: `${HOSTS}${id}` }]);
      this.#records.delete(id);
      this.#since.delete(id);
    });
  }

  /** One line of `status` for each id. */
  status(ids: readonly string[]): readonly MinionStatus[] {
    return ids.map((id) => {
      const live = this.#live.get(id);
      const record = this.#records.get(id);
      return {
        id,
        connected: live !== undefined,
        since: this.#since.get(id) ?? 0,
        address: live?.session.address ?? "",
        version: record?.version ?? "",
        running: live?.running ?? [],
        lastHighstate: record?.lastHighstate ?? null,
      };
    });
  }

  async #update(id: string, change: (record: HostRecord) => HostRecord): Promise<void> {
    const known = this.#records.get(id);
    if (known !== undefined && isDeepStrictEqual(change(known), known)) return;
    await this.#lane.run(async () => {
      const next = change(this.#records.get(id) ?? emptyRecord(id));
      await this.#store.write([putRecord(`${HOSTS}${id}`, next)]);
      this.#records.set(id, next);
    });
  }
}

function emptyRecord(id: string): HostRecord {
  return { id, version: "", bootId: "", grains: {}, lastHighstate: null };
}
