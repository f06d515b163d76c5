import { type Clock, systemClock } from "../core/clock.ts";
import type { KeyAction, KeyEntry, KeyState } from "../core/control-api.ts";
import { errorMessage } from "../core/errors.ts";
import { fingerprint, type PublicIdentity } from "../core/identity.ts";
import { MINION_ID } from "../core/ids.ts";
import { Lane } from "../core/lane.ts";
import type { Logger } from "../core/log.ts";
import type { Admission, PeerSession } from "../wire/endpoints.ts";
import type { LimitHit } from "../wire/limit-alarms.ts";
import { globMatcher } from "../sls/glob.ts";
import type { EventBus } from "./events.ts";
import { type Actor, MASTER, ROOT } from "./audit/actor.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { type KeyRecord, holdsKeys, keyRecordSchema, keysOf, newKeyRecord, toKeyEntry } from "./key-record.ts";
import { PendingKeys } from "./pending-keys.ts";
import { decodeRecord, putRecord } from "./store/record.ts";
import type { Change, Store } from "./store/store.ts";

/** What enrolment works with. */
export interface EnrolmentOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly events: EventBus;
  readonly log: Logger;
  /** Whether a new key is accepted as it comes. */
  readonly autoAccept: boolean;
  /** Most keys that may wait; default 1,000, at most a tenth of them from one network. */
  readonly maxPending?: number;
  readonly clock?: Clock;
  /** Ends what an id may no longer do: its live sessions. Whether or not the change is durable. */
  readonly cut: (ids: readonly string[]) => Promise<void>;
  /** Refuses, by throwing, that the keys of these hosts are deleted. */
  readonly mayDelete?: (ids: readonly string[], force: boolean) => Promise<void>;
  /** Drops what else is known of an id whose key was deleted. */
  readonly forget: (id: string) => Promise<void>;
}

const KEYS = "keys/";
const DENIED = "denied/";
const MAX_DENIED = 1000;

/** Which states an action applies to; a rejected or barred key is accepted only when named in full, never by a wildcard. */
const APPLIES: Readonly<Record<KeyAction["action"], readonly KeyState[]>> = {
  accept: ["pending", "rejected", "barred"],
  reject: ["pending", "accepted", "barred"],
  delete: ["pending", "accepted", "rejected", "denied", "barred"],
};

type Known = Pick<KeyEntry, "address" | "fingerprint" | "id" | "state">;
type KeyEvent = "accepted" | "deleted" | "denied" | "pending" | "rejected";
const DONE: Readonly<Record<KeyAction["action"], KeyEvent>> = {
  accept: "accepted",
  reject: "rejected",
  delete: "deleted",
};

/** Whose keys the master knows, and who of them may open a session. One writer; readers see only what is durable. */
export class Enrolment {
  readonly #options: EnrolmentOptions;
  readonly #clock: Clock;
  readonly #lane = new Lane();
  readonly #pending: PendingKeys;
  /** By id: the one key that holds it. */
  readonly #keys = new Map<string, KeyRecord>();
  /** By id and fingerprint: other keys that asked for an id that was held. */
  readonly #denied = new Map<string, KeyRecord>();
  /** Ids whose key was to be rejected or deleted, when that is not durable (yet): refused until it is. */
  readonly #barred = new Set<string>();
  /** Which record a peer's keys were found to be those of: every request asks, and a record never changes. */
  readonly #holders = new WeakMap<PublicIdentity, KeyRecord>();

  private constructor(options: EnrolmentOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { events, log, maxPending } = options;
    const tell = ({ limit, count, address }: LimitHit) => {
      log.warn({ limit, count, address }, "too many keys wait for a decision: some are turned away or pushed out");
      events.emit(`limit/${limit}`, { count, address });
    };
    this.#pending = new PendingKeys(this.#clock, tell, maxPending);
  }

  /** Reads all keys from the store. */
  static async load(options: EnrolmentOptions): Promise<Enrolment> {
    const enrolment = new Enrolment(options);
    for (const entry of await options.store.list(KEYS)) {
      const record = decodeRecord(keyRecordSchema, entry);
      enrolment.#keys.set(record.id, record);
    }
    for (const entry of await options.store.list(DENIED)) {
      enrolment.#denied.set(entry.key, decodeRecord(keyRecordSchema, entry));
    }
    return enrolment;
  }

  /**
   * Whether a peer that has proven its keys may open a session as `id`. Anything but an accepted id with its own key is
   * refused, all alike (I6); what is new is recorded first. Never throws.
   */
  async admit(id: string, peer: PublicIdentity, address: string): Promise<Admission> {
    if (!MINION_ID.test(id) || id.includes("..")) return "refuse";
    const known = this.#keys.get(id);
    if (known !== undefined && holdsKeys(known, peer)) return this.#seen(known, address);
    try {
      return await this.#lane.run(async () => this.#meet(id, peer, address));
    } catch (error) {
      this.#options.log.error({ id, err: errorMessage(error) }, "cannot record a key: the peer is refused");
      return "refuse";
    }
  }

  /** The keys that may open sessions as `id`, if any may. Changes nothing. */
  holder(id: string): PublicIdentity | undefined {
    const record = this.#keys.get(id);
    return record?.state === "accepted" && !this.#barred.has(id) ? keysOf(record) : undefined;
  }

  /** A session of an accepted key has begun: its peer is there, and where. */
  met({ minionId, address }: Pick<PeerSession, "address" | "minionId">): void {
    const record = this.#keys.get(minionId);
    if (record !== undefined) this.#seen(record, address);
  }

  /** Whether this session's keys still hold its id; asked again with every request. */
  allows({ minionId, peer }: Pick<PeerSession, "minionId" | "peer">): boolean {
    const record = this.#keys.get(minionId);
    if (record?.state !== "accepted" || this.#barred.has(minionId)) return false;
    if (this.#holders.get(peer) === record) return true;
    const holds = holdsKeys(record, peer);
    if (holds) this.#holders.set(peer, record);
    return holds;
  }

  /** Ids whose key is accepted, sorted. */
  acceptedIds(): readonly string[] {
    return [...this.#keys.values()]
      .filter(({ state }) => state === "accepted")
      .map(({ id }) => id)
      .sort();
  }

  /** Every key, sorted by id; denied ones after the key that holds the id. */
  list(): readonly KeyEntry[] {
    return [...this.#keys.values(), ...this.#denied.values()]
      .map((record) => this.#entry(record))
      .sort((a, b) => (a.id < b.id ? -1 : Number(a.id > b.id)));
  }

  /**
   * Accepts, rejects or deletes the keys that the glob matches in a state that the action applies to, and returns them as
   * they were before. When it resolves the change and its audit record are durable. The live sessions of rejected and
   * deleted ids are cut at once, also when that cannot be recorded; then it throws, and they stay out, listed as barred, until
   * they are accepted anew or the master stops.
   */
  async act(
    { action, match, dryRun, fingerprints, force = false }: KeyAction,
    actor: Actor = ROOT,
  ): Promise<readonly KeyEntry[]> {
    return this.#lane.run(async () => {
      const meant = fingerprints && new Set(fingerprints);
      const hits = this.#matches(action, match).filter(({ fingerprint }) => !meant || meant.has(fingerprint));
      const before = hits.map((record) => this.#entry(record));
      if (dryRun || hits.length === 0) return before;
      if (action === "delete") {
        const holders = hits.filter(({ state }) => state !== "denied").map(({ id }) => id);
        await this.#options.mayDelete?.(holders, force);
      }
      const cutting = this.#bar(action, hits);
      // one turn of the event loop: one write for all
      const [cut, recorded] = await Promise.allSettled([
        cutting,
        Promise.all(
          hits.map(async (record, index) =>
            this.#record(DONE[action], before[index] ?? record, actor, this.#changes(action, record)),
          ),
        ),
      ]);
      if (recorded.status === "rejected") throw recorded.reason;
      for (const record of hits) this.#apply(action, record);
      if (cut.status === "rejected") throw cut.reason;
      if (action === "delete") for (const { id } of hits) if (!this.#keys.has(id)) await this.#options.forget(id);
      return before;
    });
  }

  /** Keeps out, from now on, whose accepted keys are rejected or deleted; resolves when they are cut. */
  async #bar(action: KeyAction["action"], hits: readonly KeyRecord[]): Promise<void> {
    const ids = hits.filter(({ state }) => state === "accepted").map(({ id }) => id);
    if (action === "accept" || ids.length === 0) return;
    for (const id of ids) this.#barred.add(id);
    await this.#options.cut(ids);
  }

  #matches(action: KeyAction["action"], match: string): readonly KeyRecord[] {
    const fits = globMatcher(match);
    return [...this.#keys.values(), ...this.#denied.values()].filter((record) => {
      const { state } = this.#entry(record);
      const isNamed = record.id === match || action !== "accept" || state === "pending";
      return fits(record.id) && APPLIES[action].includes(state) && isNamed;
    });
  }

  /** What operators see of a key: an accepted one that is kept out all the same is no accepted one. */
  #entry(record: KeyRecord): KeyEntry {
    const isBarred = record.state === "accepted" && this.#barred.has(record.id);
    return isBarred ? { ...toKeyEntry(record), state: "barred" } : toKeyEntry(record);
  }

  #changes(action: KeyAction["action"], record: KeyRecord): readonly Change[] {
    const key = recordKey(record);
    if (action === "delete") return [{ op: "delete", key }];
    return [putRecord(key, { ...record, state: action === "accept" ? "accepted" : "rejected" })];
  }

  #apply(action: KeyAction["action"], record: KeyRecord): void {
    const { id, fingerprint } = record;
    if (record.state === "denied") this.#denied.delete(recordKey(record));
    else if (action === "delete") this.#keys.delete(id);
    else this.#keys.set(id, { ...record, state: action === "accept" ? "accepted" : "rejected" });
    if (record.state === "accepted") this.#barred.delete(id);
    const done = DONE[action];
    this.#options.events.emit(`key/${done}/${id}`, { id, fingerprint, before: record.state });
    this.#options.log.info({ id, fingerprint }, `key ${done}`);
  }

  /** Writes changes of keys and the audit record of one of them, both or none. */
  async #record(done: KeyEvent, record: Known, { actor, from }: Actor, changes: readonly Change[]): Promise<void> {
    const { id, fingerprint, state, address } = record;
    const at = this.#clock.now();
    const data = { fingerprint, before: state, address };
    await this.#options.audit.append({ at, kind: `key-${done}`, actor, subject: id, from, data }, changes);
  }

  #seen(record: KeyRecord, address: string): Admission {
    this.#keys.set(record.id, { ...record, address, lastSeen: this.#clock.now() });
    return record.state === "accepted" && !this.#barred.has(record.id) ? "accept" : "refuse";
  }

  async #meet(id: string, peer: PublicIdentity, address: string): Promise<Admission> {
    const known = this.#keys.get(id);
    if (known !== undefined && holdsKeys(known, peer)) return this.#seen(known, address);
    const facts = { id, fingerprint: fingerprint(peer), address, now: this.#clock.now() };
    if (known !== undefined) return this.#deny(known, newKeyRecord(peer, { ...facts, state: "denied" }));
    const state = this.#options.autoAccept ? "accepted" : "pending";
    const pending = [...this.#keys.values()].filter((record) => record.state === "pending");
    const evicted = state === "pending" ? this.#pending.room(pending, address) : [];
    if (evicted === undefined) return "refuse";
    const record = newKeyRecord(peer, { ...facts, state });
    const by = state === "accepted" ? { ...MASTER, from: "auto_accept" } : { actor: id, from: address };
    await this.#record(state, { ...record, state: "pending" }, by, [
      putRecord(recordKey(record), record),
      ...evicted.map((old): Change => ({ op: "delete", key: recordKey(old) })),
    ]);
    for (const old of evicted) this.#keys.delete(old.id);
    this.#keys.set(id, record);
    this.#options.events.emit(`key/${state}/${id}`, { id, fingerprint: record.fingerprint, address });
    this.#options.log.info({ id, fingerprint: record.fingerprint, address }, `key ${state}`);
    return state === "accepted" ? "accept" : "refuse";
  }

  async #deny(holder: KeyRecord, record: KeyRecord): Promise<Admission> {
    const key = recordKey(record);
    const before = this.#denied.get(key);
    if (before !== undefined) {
      this.#denied.set(key, { ...before, address: record.address, lastSeen: record.lastSeen });
      return "refuse";
    }
    const { id, fingerprint, address } = record;
    const facts = { id, fingerprint, address, held: holder.fingerprint };
    this.#options.events.emit(`key/denied/${id}`, facts);
    // keys cost nothing to make: beyond what is recorded there is no line either
    if (this.#denied.size < MAX_DENIED) {
      this.#options.log.warn(facts, "key denied: another key holds the id");
      await this.#record("denied", record, { actor: id, from: address }, [putRecord(key, record)]);
      this.#denied.set(key, record);
    }
    return "refuse";
  }
}

function recordKey({ id, state, signKey, dhKey }: KeyRecord): string {
  if (state !== "denied") return `${KEYS}${id}`;
  return `${DENIED}${id}/${signKey}${dhKey}`;
}
