import { randomBytes } from "node:crypto";
import { AuthError, ConfigError } from "../../core/errors.ts";
import type { ApprovalStatement } from "../../core/operator-statement.ts";
import type { Decision } from "../policy/facts.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";
import { type Hold, hashReasons, holdKey, HOLDS, holdSchema, type HoldSubject } from "./hold-record.ts";
import type { Journal } from "./journal.ts";
import { type Operators, ROOT } from "./operators.ts";

/** A hold that nobody asked about for so long is forgotten, a denial too. */
const KEEP_MS = 86_400_000;
/** A repeated request is noted in the store at most this often. */
const REFRESH_MS = 30_000;
/** A host cannot fill the store with holds. */
const MAX_PER_HOST = 64;

/** What a request brings to its hold. */
export type HoldRequest = HoldSubject & Pick<Hold, "luksUuid" | "bootId" | "address" | "askers">;

export interface HoldsOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly operators: Operators;
  /** Fingerprint of the master. */
  readonly master: string;
  /** Most milliseconds that an approval is good for. */
  readonly approvalMs: number;
  readonly now: () => number;
}

/** Leases that wait for people. Entries are in memory and in the store; a repeated request refreshes its entry. */
export class Holds {
  readonly #options: HoldsOptions;
  readonly #holds = new Map<string, Hold>();

  private constructor(options: HoldsOptions) {
    this.#options = options;
  }

  /** Reads what the store knows. */
  static async load(options: HoldsOptions): Promise<Holds> {
    const holds = new Holds(options);
    for (const entry of await options.store.list(HOLDS)) holds.#holds.set(entry.key, decodeRecord(holdSchema, entry));
    return holds;
  }

  /** All that wait or were denied, oldest first. */
  list(): readonly Hold[] {
    const now = this.#options.now();
    for (const [key, hold] of this.#holds) if (hold.askedAt + KEEP_MS <= now) this.#holds.delete(key);
    return [...this.#holds.values()].sort((a, b) => a.since - b.since);
  }

  /** Throws ConfigError `no-such-hold`. */
  get(holdId: string): Hold {
    const hold = this.list().find((entry) => entry.holdId === holdId);
    if (hold) return hold;
    throw new ConfigError("no-such-hold", `cannot find hold "${holdId}"`, {
      hint: "it may have been opened, denied or changed: see `latchkey lease list --held`",
    });
  }

  /** The entry of a subject in one boot from one address; another boot or address is another matter. */
  find(request: HoldSubject & Pick<Hold, "bootId" | "address">): Hold | undefined {
    const hold = this.#of(request);
    return hold && hold.bootId === request.bootId && hold.address === request.address ? hold : undefined;
  }

  /** Whether an operator said no to this host, secret and boot. */
  denied(request: HoldSubject & Pick<Hold, "bootId">): Hold["denied"] {
    const hold = this.#of(request);
    return hold !== undefined && hold.bootId === request.bootId ? hold.denied : null;
  }

  /** Approvals that count now: not expired, by operators whose key is still registered, and by none who asked. */
  approvalsFor(hold: Hold, askers: readonly string[]): Hold["approvals"] {
    const { operators, now } = this.#options;
    return hold.approvals.filter(
      ({ operator, keyId, expires }) =>
        expires > now() && operators.keyId(operator) === keyId && !askers.includes(operator),
    );
  }

  /**
   * Notes a held request. When what it is about is as before, the entry is refreshed and its approvals stay; else a new
   * one takes its place, and they are void. Resolves with the entry and whether it is new; "full" when the host has too
   * many. Rejects when it cannot be stored.
   */
  async note(
    request: HoldRequest,
    decision: Decision,
  ): Promise<{ readonly hold: Hold; readonly isNew: boolean } | "full"> {
    const { store, now } = this.#options;
    const key = holdKey(request);
    const before = this.find(request);
    const reasonsHash = hashReasons(decision.rule, decision.reasons);
    const reasons = decision.reasons.map(({ code, text }) => ({ code, text }));
    const needed = {
      count: decision.approvalsNeeded?.count ?? 1,
      of: decision.approvalsNeeded?.of?.slice() ?? null,
    };
    const at = now();
    if (before?.reasonsHash === reasonsHash) {
      const askers = [...new Set([...before.askers, ...request.askers])];
      const hold: Hold = { ...before, reasons, needed, askers, askedAt: at };
      const isOther = needed.count !== before.needed.count || needed.of?.join() !== before.needed.of?.join();
      const stale = isOther || at - before.askedAt >= REFRESH_MS || askers.length !== before.askers.length;
      if (stale) {
        this.#holds.set(key, hold);
        await store.write([putRecord(key, hold, { ttlMs: KEEP_MS })]);
      }
      return { hold, isNew: false };
    }
    if (!this.#holds.has(key) && this.list().filter(({ id }) => id === request.id).length >= MAX_PER_HOST)
      return "full";
    const { id, path, purpose, device, luksUuid, bootId, address, askers } = request;
    const hold: Hold = {
      holdId: randomBytes(5).toString("hex"),
      id,
      path,
      purpose,
      device,
      luksUuid,
      bootId,
      address,
      rule: decision.rule ?? "",
      reasons,
      reasonsHash,
      needed,
      askers: [...askers],
      since: at,
      askedAt: at,
      approvals: [],
      denied: null,
    };
    this.#holds.set(key, hold);
    await store.write([putRecord(key, hold, { ttlMs: KEEP_MS })]);
    return { hold, isNew: true };
  }

  /**
   * Takes one approval in. Throws ConfigError `no-such-hold`, AuthError `bad-approval` for a statement that is not
   * exactly about this hold, is not signed, has expired, or is by somebody who may not approve it.
   */
  async approve(statement: ApprovalStatement, signature: string | undefined): Promise<Hold> {
    const { operators, journal, approvalMs, now, master } = this.#options;
    const { operator } = statement;
    const seen = this.get(statement.hold);
    const refuse = (why: string) =>
      new AuthError("bad-approval", `cannot approve hold ${seen.holdId} as "${operator}": ${why}`);
    operators.verify(statement, signature, now(), approvalMs);
    const keyId = operators.keyId(operator);
    if (keyId === undefined) throw refuse("no such operator is registered");
    if (!isAbout(statement, seen, master)) throw refuse("it is about something else than this hold");
    if (seen.denied) throw refuse("it was denied");
    if (seen.askers.includes(operator)) throw refuse("who asked cannot approve");
    if (seen.needed.of && !seen.needed.of.includes(operator)) throw refuse("the rule names others");
    const approval = { operator, keyId, at: now(), expires: statement.expires };
    const add = (hold: Hold): Hold => ({
      ...hold,
      approvals: [...hold.approvals.filter((other) => other.operator !== operator), approval],
    });
    const data = { hold: seen.holdId, secret: seen.path, purpose: seen.purpose, bootId: seen.bootId };
    await journal({
      kind: "lease-approved",
      actor: operator,
      subject: seen.id,
      data: { ...data, reasons: seen.reasonsHash, expires: statement.expires, signature: signature ?? "" },
    });
    // recorded first; the entry may have moved on meanwhile, and then there is nothing to approve
    const current = this.get(statement.hold);
    if (current.denied) throw refuse("it was denied");
    return this.#put(add(current));
  }

  /** Says no: the host is denied this in its current boot. Throws ConfigError `no-such-hold`. */
  async deny(holdId: string, by: string = ROOT): Promise<Hold> {
    const { journal, now } = this.#options;
    const seen = this.get(holdId);
    const next: Hold = { ...seen, approvals: [], denied: { by, at: now() } };
    // in force at once, also when it cannot be recorded
    this.#holds.set(holdKey(seen), next);
    const data = { hold: holdId, secret: seen.path, purpose: seen.purpose, bootId: seen.bootId };
    await journal({ kind: "lease-denied", actor: by, subject: seen.id, data }, [
      putRecord(holdKey(seen), next, { ttlMs: KEEP_MS }),
    ]);
    return next;
  }

  /** Ends a hold because of the release that it waited for: its approvals are used up, at once. `restore` if none came. */
  consume(subject: HoldSubject): { readonly changes: readonly Change[]; readonly restore: () => void } {
    const hold = this.#of(subject);
    if (!hold) return { changes: [], restore: () => {} };
    const key = holdKey(subject);
    this.#holds.delete(key);
    return {
      changes: [{ op: "delete", key }],
      restore: () => {
        if (!this.#holds.has(key)) this.#holds.set(key, hold);
      },
    };
  }

  /** What drops all that a host waits for or was denied (of one secret, or all). `apply` once it is durable. */
  drop(id: string, path: string | null) {
    const dropped = [...this.#holds].filter(([, hold]) => hold.id === id && (path === null || hold.path === path));
    return {
      denials: dropped.filter(([, hold]) => hold.denied !== null).length,
      changes: dropped.map(([key]): Change => ({ op: "delete", key })),
      apply: () => {
        for (const [key] of dropped) this.#holds.delete(key);
      },
    };
  }

  #of(subject: HoldSubject): Hold | undefined {
    // mostly nothing waits, and then no key needs to be made up
    return this.#holds.size === 0 ? undefined : this.#holds.get(holdKey(subject));
  }

  async #put(hold: Hold): Promise<Hold> {
    this.#holds.set(holdKey(hold), hold);
    await this.#options.store.write([putRecord(holdKey(hold), hold, { ttlMs: KEEP_MS })]);
    return hold;
  }
}

function isAbout(statement: ApprovalStatement, hold: Hold, master: string): boolean {
  return (
    statement.what === "approve" &&
    statement.master === master &&
    statement.minion === hold.id &&
    statement.secret === hold.path &&
    statement.purpose === hold.purpose &&
    statement.device === hold.device &&
    statement.address === hold.address &&
    statement.bootId === hold.bootId &&
    statement.reasons === hold.reasonsHash
  );
}
