import { randomBytes } from "node:crypto";
import type { AuditKind } from "../../core/audit/kinds.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import { AuthError, ConfigError, errorMessage, HostError } from "../../core/errors.ts";
import type { Clock } from "../../core/clock.ts";
import type { JsonObject } from "../../core/json.ts";
import { Lane } from "../../core/lane.ts";
import type { Logger } from "../../core/log.ts";
import type { EraseAskStatement, EraseStatement } from "../../core/operator-statement.ts";
import type { ErasureEntry, StuckErasure } from "../../core/volume-api.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { type Actor, ROOT } from "../audit/actor.ts";
import type { EventBus } from "../events.ts";
import type { Operators } from "../release/operators.ts";
import type { SecretVersions } from "../secret-versions.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { type ErasedSlots, erasedSlotsKey } from "./erased-slots.ts";
import { erasureKey, type ErasureRecord, ERASURES, erasureSchema } from "./erasure-record.ts";
import type { Headers } from "./headers.ts";
import type { Volumes } from "./volumes.ts";

/** How long until what could not be carried through is tried again. */
const AGAIN_MS = 60_000;
/** How long a signed ask may lie around before it reaches the master. */
const MAX_ASK_MS = 600_000;
/** How long one that was asked for waits for its approvals. */
const KEEP_MS = 86_400_000;

/** Points that a final erase passes; ended at any of them, the next start of the master goes on. */
export type ErasurePoint = "erasure-decided" | "erasure-headers" | "erasure-secrets" | "erasure-scrubbed";

/** What final erasing rests on. */
export interface ErasuresOptions {
  readonly store: Store;
  readonly versions: Pick<SecretVersions, "destroy">;
  readonly headers: Pick<Headers, "destroy">;
  readonly volumes: Pick<Volumes, "get">;
  readonly erased: Pick<ErasedSlots, "get">;
  readonly isConnected: (id: string) => boolean;
  readonly operators: Operators;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly audit: Pick<AuditLog, "append">;
  /** Fingerprint of the master. */
  readonly master: string;
  /** How many operators must say yes; the one who asked does not count. */
  readonly needed: number;
  /** Longest life of an approval. */
  readonly approvalMs: number;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  readonly reached?: (point: ErasurePoint) => void;
}

/** An operator's signed word that they ask. */
export interface SignedAsk {
  readonly statement: EraseAskStatement;
  readonly signature: string;
}

/** The name once more, and whether the host, or the disk, is gone for good: then its word is not waited for. */
export interface ErasureConsent {
  readonly typed: string;
  readonly hostGone: boolean;
}

/**
 * Destroys what could bring an erased volume back: its headers in escrow and every stored version of its key. Only when
 * enough operators have signed that, for this very volume and LUKS UUID, and its host has signed that every keyslot is dead. Once decided it is carried through, over any crash.
 */
export class Erasures {
  readonly #options: ErasuresOptions;
  readonly #lane = new Lane();
  readonly #closing = new AbortController();
  /** Why, by the key of the record. */
  readonly #stuck = new Map<string, string>();
  #isTrying = false;

  constructor(options: ErasuresOptions) {
    this.#options = options;
  }

  /** Every erasure that was asked for, approved or done. */
  async list(): Promise<readonly ErasureEntry[]> {
    return (await this.#records()).map((record) => this.#entry(record));
  }

  /**
   * Asks for one, in the name of the operator who signed: they cannot approve it. The same one is handed back while it waits,
   * to anybody. Throws ConfigError `no-quorum`, `no-volume`, `not-generated`, AuthError `not-signed`, `bad-approval`.
   */
  async ask(id: string, volume: string, asked?: SignedAsk): Promise<ErasureEntry> {
    return this.#lane.run(async () => {
      const { clock, needed, operators } = this.#options;
      const now = clock.now();
      const before = await this.#read(id, volume);
      const known = this.#options.volumes.get(id, volume);
      if (known === undefined || known.keyPath === "" || known.luksUuid === "") {
        throw new ConfigError("no-volume", `cannot erase volume "${volume}" of "${id}": the master knows of none`);
      }
      const isSame = before?.luksUuid === known.luksUuid && before.path === known.keyPath;
      if (before?.state === "destroying" || (before?.state === "asked" && before.expires > now && isSame))
        return this.#entry(before);
      const count = operators.list().length;
      if (count <= needed) {
        const wanting = `it needs ${needed + 1} registered operators, and there are ${count}`;
        throw new ConfigError("no-quorum", `cannot erase for good: ${wanting}`, {
          hint: "who asks cannot approve, and erase_approvals others must; add them with `latchkey operator add`",
        });
      }
      const by = this.#askedBy(id, volume, asked, before);
      const { keyPath: path, luksUuid } = known;
      await this.#assertOfStore(id, path);
      const erasure = asked?.statement.erasure ?? randomBytes(16).toString("hex");
      const record: ErasureRecord = {
        erasure,
        id,
        volume,
        path,
        luksUuid,
        by: by.actor,
        at: now,
        expires: now + KEEP_MS,
        state: "asked",
        approvals: [],
      };
      const signed = asked && { expires: asked.statement.expires, signature: asked.signature };
      await this.#record("erase-asked", by, record, signed);
      return this.#entry(record);
    });
  }

  /** Who asks: one of the operators, by their signature over this very ask. */
  #askedBy(id: string, volume: string, asked: SignedAsk | undefined, before: ErasureRecord | undefined): Actor {
    const { operators, clock, master } = this.#options;
    if (asked === undefined) {
      throw new AuthError("not-signed", `cannot erase "${volume}" for good: the operator who asks must sign`, {
        hint: "add --operator NAME",
      });
    }
    const { statement, signature } = asked;
    const { operator } = statement;
    const refuse = (why: string) => new AuthError("bad-approval", `cannot take this from "${operator}": ${why}`);
    operators.verify(statement, signature, clock.now(), MAX_ASK_MS);
    const isAbout =
      statement.what === "ask-erase" &&
      statement.master === master &&
      statement.minion === id &&
      statement.volume === volume;
    if (!isAbout) throw refuse("it is about something else than this volume");
    if (before?.erasure === statement.erasure) throw refuse("it was used before");
    return { actor: operator, from: ROOT.from };
  }

  /** Takes one operator's yes in. Throws AuthError `bad-approval`, ConfigError `no-erasure`. */
  async approve(statement: EraseStatement, signature: string): Promise<ErasureEntry> {
    return this.#lane.run(async () => {
      const { operators, clock, approvalMs } = this.#options;
      const now = clock.now();
      const { operator } = statement;
      const seen = await this.#waiting(statement.minion, statement.volume);
      const refuse = (why: string) => new AuthError("bad-approval", `cannot approve this as "${operator}": ${why}`);
      operators.verify(statement, signature, now, approvalMs);
      const keyId = operators.keyId(operator);
      if (keyId === undefined || !operators.list().some(({ name }) => name === operator)) {
        throw refuse("no such operator is registered");
      }
      if (!this.#isAbout(statement, seen)) throw refuse("it is about something else than this erasure");
      if (operator === seen.by) throw refuse("who asked cannot approve");
      const others = seen.approvals.filter((one) => one.operator !== operator);
      const approval = { operator, keyId, at: now, expires: statement.expires };
      const record = { ...seen, approvals: [...others, approval] };
      await this.#record("erase-approved", { actor: operator, from: ROOT.from }, record, { signature });
      return this.#entry(record);
    });
  }

  /**
   * Carries out an approved one; resolves when nothing of it is left. Throws AuthError `not-approved`, HostError
   * `keyslots-not-erased` without the host's signed word since it was asked for, ConfigError `host-not-gone`.
   */
  async execute(id: string, volume: string, { typed, hostGone }: ErasureConsent): Promise<ErasureEntry> {
    return this.#lane.run(async () => {
      const seen = await this.#read(id, volume);
      if (seen?.state === "destroying") return this.#destroy(seen);
      const waiting = await this.#waiting(id, volume);
      if (typed !== volume) throw new ConfigError("not-confirmed", `cannot erase "${volume}": its name was not typed`);
      const { needed, volumes } = this.#options;
      const count = this.#valid(waiting).length;
      if (count < needed) {
        throw new AuthError("not-approved", `cannot erase "${volume}" for good: ${count} of ${needed} approvals`);
      }
      const now = volumes.get(id, volume);
      if (now !== undefined && now.luksUuid !== waiting.luksUuid) {
        throw new AuthError("not-approved", `cannot erase "${volume}" for good: it is another LUKS volume by now`);
      }
      await this.#assertOfStore(id, waiting.path);
      if (hostGone) this.#assertGone(id, volume);
      else await this.#assertSlotsDead(waiting);
      const record: ErasureRecord = { ...waiting, state: "destroying" };
      await this.#record("erase-final", ROOT, record, {
        approvals: this.#valid(waiting).map(({ operator }) => operator),
        hostGone,
      });
      this.#options.reached?.("erasure-decided");
      return this.#destroy(record);
    });
  }

  /**
   * Goes on with what a crash cut short; to be called when the master starts. What cannot be carried through now is tried
   * again from time to time, and nothing else waits for it. Throws HostError only when the store cannot be read.
   */
  async resume(): Promise<void> {
    for (const { key } of await this.#options.store.list(ERASURES)) await this.#goOn(key);
  }

  /** What was decided and could not be carried through yet. */
  stuck(): readonly StuckErasure[] {
    return [...this.#stuck].map(([key, reason]) => {
      const [, id = "", volume = ""] = key.split("/");
      return { id, volume: decodeURIComponent(volume), reason };
    });
  }

  close(): void {
    this.#closing.abort();
  }

  async #goOn(key: string): Promise<void> {
    await this.#lane.run(async () => {
      try {
        const entry = await this.#options.store.get(key);
        const record = entry && decodeRecord(erasureSchema, entry);
        if (record?.state === "destroying") await this.#destroy(record);
        else this.#stuck.delete(key);
      } catch (error) {
        this.#stick(key, error);
      }
    });
  }

  /** Says once why it cannot go on, and has it tried again. */
  #stick(key: string, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const reason = errorMessage(error);
    const isNew = this.#stuck.get(key) !== reason;
    this.#stuck.set(key, reason);
    const facts = this.stuck().find((one) => one.reason === reason);
    if (isNew && facts) {
      this.#options.log.error({ ...facts }, "a volume cannot be erased for good now; it is tried again");
      this.#options.events.emit(`erasure/stuck/${facts.id}`, { ...facts });
    }
    if (!this.#isTrying) void this.#tryAgain();
  }

  async #tryAgain(): Promise<void> {
    const { signal } = this.#closing;
    this.#isTrying = true;
    while (this.#stuck.size > 0 && !signal.aborted) {
      await this.#options.clock.sleep(AGAIN_MS, signal).catch(() => undefined);
      for (const key of signal.aborted ? [] : [...this.#stuck.keys()]) await this.#goOn(key);
    }
    this.#isTrying = false;
  }

  async #destroy(record: ErasureRecord): Promise<ErasureEntry> {
    const { headers, versions, store, reached } = this.#options;
    const { id, volume, path } = record;
    const key = erasureKey(id, volume);
    try {
      await headers.destroy(id, volume, ROOT);
      reached?.("erasure-headers");
      await versions.destroy(id, path, [{ op: "delete", key: erasedSlotsKey(id, volume) }]);
      reached?.("erasure-secrets");
      await store.scrub();
      reached?.("erasure-scrubbed");
      const done: ErasureRecord = { ...record, state: "done" };
      await this.#record("erase-done", ROOT, done);
      this.#stuck.delete(key);
      return this.#entry(done);
    } catch (error) {
      this.#stick(key, error);
      throw error;
    }
  }

  /** The keys go only once nothing on the disk is left that they open. */
  async #assertSlotsDead({ id, volume, luksUuid, at }: ErasureRecord): Promise<void> {
    const { erased, volumes } = this.#options;
    const said = await erased.get(id, volume);
    const last = volumes.get(id, volume);
    const refuse = (why: string) =>
      new HostError("keyslots-not-erased", `cannot erase "${volume}" for good: ${why}; its keys are kept`, {
        hint: `\`latchkey volume erase ${id}/${volume} --final\` has the host erase them first; --host-gone when host or disk are gone for good`,
        facts: { id, volume },
      });
    if (said?.luksUuid !== luksUuid || said.at < at) {
      throw refuse(`"${id}" has not said since it was asked for that its keyslots are dead`);
    }
    if (last !== undefined && last.heardAt > said.at && last.slots.length > 0) {
      throw refuse(`"${id}" has reported keyslots of it since it erased them`);
    }
  }

  /** Who is there can be asked. Only a disk that a connected host misses counts as gone with the host there. */
  #assertGone(id: string, volume: string): void {
    const { isConnected, volumes } = this.#options;
    const problems = volumes.get(id, volume)?.problems ?? [];
    if (!isConnected(id) || problems.some(({ code }) => code === "disk-missing")) return;
    throw new ConfigError("host-not-gone", `cannot erase "${volume}" without the word of "${id}": it is connected`, {
      hint: "leave out --host-gone: the host erases its keyslots first",
    });
  }

  /** A key that is in the pillar's own file would stay there. */
  async #assertOfStore(id: string, path: string): Promise<void> {
    const node = (await this.#options.compile(id)).secrets.get(path);
    if (node === undefined || node.kind === "generate") return;
    throw new ConfigError("not-generated", `cannot erase for good: "${path}" is in the pillar file itself`, {
      hint: `latchkey secret import ${id} ${path} moves it into the store`,
    });
  }

  #valid({ approvals, by }: ErasureRecord) {
    const { operators, clock } = this.#options;
    const now = clock.now();
    return approvals.filter(
      ({ operator, keyId, expires }) => expires > now && operator !== by && operators.keyId(operator) === keyId,
    );
  }

  #isAbout(statement: EraseStatement, { erasure, id, volume, luksUuid }: ErasureRecord): boolean {
    return (
      statement.what === "erase" &&
      statement.master === this.#options.master &&
      statement.erasure === erasure &&
      statement.minion === id &&
      statement.volume === volume &&
      statement.luksUuid === luksUuid
    );
  }

  async #waiting(id: string, volume: string): Promise<ErasureRecord> {
    const record = await this.#read(id, volume);
    if (record?.state === "asked" && record.expires > this.#options.clock.now()) return record;
    throw new ConfigError("no-erasure", `cannot find an erasure of "${volume}" of "${id}" that waits`, {
      hint: `ask for it: latchkey volume erase ${id}/${volume} --final`,
    });
  }

  async #record(kind: AuditKind, by: Actor, record: ErasureRecord, more: JsonObject = {}): Promise<void> {
    const { id, volume, path, luksUuid, erasure } = record;
    const data = { volume, secret: path, luksUuid, erasure, ...more };
    const { audit, clock } = this.#options;
    await audit.append({ at: clock.now(), kind, ...by, subject: id, data }, [
      putRecord(erasureKey(id, volume), record),
    ]);
  }

  async #read(id: string, volume: string): Promise<ErasureRecord | undefined> {
    const entry = await this.#options.store.get(erasureKey(id, volume));
    return entry && decodeRecord(erasureSchema, entry);
  }

  async #records(): Promise<readonly ErasureRecord[]> {
    return (await this.#options.store.list(ERASURES)).map((entry) => decodeRecord(erasureSchema, entry));
  }

  #entry(record: ErasureRecord): ErasureEntry {
    const { erasure, id, volume, luksUuid, by, expires, state } = record;
    const { needed, master, clock, approvalMs } = this.#options;
    const now = clock.now();
    const approvals = this.#valid(record).map(({ operator }) => operator);
    return { erasure, id, volume, luksUuid, by, expires, state, approvals, needed, master, now, approvalMs };
  }
}
