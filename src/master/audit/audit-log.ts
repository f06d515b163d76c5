import {
  type AuditFact,
  type AuditRecord,
  type ChainHead,
  chainRecord,
  type Checkpoint,
  EMPTY_CHAIN,
  isSigned,
  recordFault,
  signChain,
} from "../../core/audit/chain.ts";
import { auditRecordSchema } from "../../core/audit/verify.ts";
import type { Clock } from "../../core/clock.ts";
import { BugError, errorMessage, HostError, ProtocolError } from "../../core/errors.ts";
import { callingUser, ROOT } from "./actor.ts";
import { assertChanges } from "../store/keys.ts";
import type { Change, Store } from "../store/store.ts";
import {
  CHECKPOINTS,
  checkpointKey,
  decodeHead,
  decodeStored,
  encodeStored,
  HEAD,
  recordEntries,
  recordKey,
  seqOf,
} from "./stored.ts";

/** A checkpoint follows at the latest after this many records, or this long after the first that none covers. */
const CHECKPOINT_EVERY = 256;
const CHECKPOINT_AFTER_MS = 2000;
/** How often a log that could not be written tries again by itself. */
const RETRY_MS = 1000;

/** What else is written in the same atomic write as a record; may depend on the record's number. */
export type AlsoWrite = readonly Change[] | ((record: AuditRecord) => readonly Change[]);

/** Since when, and why, records cannot be written. */
export interface AuditTrouble {
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly reason: string;
  /** Records that could not be written so far. */
  readonly lost: number;
}

interface Waiting {
  readonly fact: AuditFact;
  readonly changes: AlsoWrite;
  readonly resolve: (record: AuditRecord) => void;
  readonly reject: (reason: unknown) => void;
}

interface Asking {
  readonly resolve: (checkpoint: Checkpoint | undefined) => void;
  readonly reject: (reason: unknown) => void;
}

/** What the audit log needs of the master. */
export interface AuditLogOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly sign: (message: Uint8Array) => Uint8Array;
  /** The public half of what signs: Ed25519. */
  readonly signKey: Uint8Array;
  /** Hears when writing begins to fail, and with `undefined` when it works again. */
  readonly onTrouble?: (trouble: AuditTrouble | undefined) => void;
}

/** Whoever came by the control socket is named as their client names them. */
function withUser(fact: AuditFact): AuditFact {
  const user = fact.from === ROOT.from ? (callingUser() ?? "") : "";
  return user === "" ? fact : { ...fact, data: { ...fact.data, user } };
}

/**
 * The master's memory of what it decided (I4): a hash chain of records in the store with signed checkpoints. Records that
 * arrive while a write is under way share the next one, so that a herd costs few syncs.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #listeners = new Set<(record: AuditRecord) => void>();
  #head: ChainHead = EMPTY_CHAIN;
  #headRevision = 0;
  #checkpoint: Checkpoint | undefined;
  #trouble: AuditTrouble | undefined;
  #waiting: Waiting[] = [];
  #asking: Asking[] = [];
  /** When the first record was written that no checkpoint covers, by the monotonic clock. */
  #uncoveredSince: number | undefined;
  #writing: Promise<void> | undefined;
  #checkpointTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryDue = false;
  #closed = false;

  private constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Opens the log where it stands in the store. Throws HostError `store-failed`, ProtocolError `audit-damaged`. */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const log = new AuditLog(options);
    const head = await options.store.get(HEAD);
    const [last] = await options.store.list(CHECKPOINTS, { reverse: true, limit: 1 });
    if (last) log.#checkpoint = decodeStored(last) as Checkpoint;
    if (head) log.#headRevision = head.revision;
    await log.#assertWhole(head && (decodeHead(head) ?? "damaged"));
    log.#scheduleCheckpoint();
    return log;
  }

  /** Number and hash of the last durable record. */
  get head(): ChainHead {
    return this.#head;
  }

  /** The newest signed checkpoint. */
  get checkpoint(): Checkpoint | undefined {
    return this.#checkpoint;
  }

  /** Set while records cannot be written; nothing is released for that while. */
  get trouble(): AuditTrouble | undefined {
    return this.#trouble;
  }

  /**
   * Adds a record, and with it, in the same atomic write, `changes` (unconditional ones: the write is shared with
   * others, which a conflict would take down). Resolves when both are on disk; rejects with
   * HostError `store-failed` when they are not, and then nothing of either is there.
   */
  async append(fact: AuditFact, changes: AlsoWrite = []): Promise<AuditRecord> {
    if (this.#closed) throw new BugError("audit-closed", "cannot add an audit record: the log is closed");
    return await new Promise<AuditRecord>((resolve, reject) => {
      this.#waiting.push({ fact: withUser(fact), changes, resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  /**
   * Signs the chain as it stands behind the write under way, however many records wait for the next. Resolves with the
   * checkpoint, undefined for an empty chain.
   */
  async signNow(): Promise<Checkpoint | undefined> {
    return await new Promise<Checkpoint | undefined>((resolve, reject) => {
      this.#asking.push({ resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  /**
   * The end of an export that is made now, signed as such; undefined for an empty chain. A store that cannot be written can
   * still be proven, up to what is signed.
   */
  async signEnd(): Promise<Checkpoint | undefined> {
    const upTo = await this.signNow().catch(() => this.#checkpoint);
    return upTo && signChain("end", upTo, this.#options.clock.now(), this.#options.sign);
  }

  /** Calls `listener` for every record as it becomes durable; returns what ends that. */
  follow(listener: (record: AuditRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Writes what waits, signs the chain and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#checkpointTimer);
    clearTimeout(this.#retryTimer);
    while (this.#writing) await this.#writing;
    await this.signNow();
  }

  /**
   * A chain that is not what this master itself signed with its last write, or ends before a checkpoint, is not gone on with:
   * the next signature would cover what somebody else put there.
   */
  async #assertWhole(stored: Checkpoint | "damaged" | undefined): Promise<void> {
    const damaged = (what: string) =>
      new ProtocolError("audit-damaged", `cannot open the audit log: ${what}`, {
        hint: "`latchkey audit verify --store DIR`, the state directory, says what else was touched; restore the store from a backup",
      });
    const { store, signKey } = this.#options;
    const signed = this.#checkpoint;
    if (stored === "damaged" || (stored && !isSigned("head", stored, signKey)))
      throw damaged("its end is not signed by this master");
    const { seq, hash } = stored ?? EMPTY_CHAIN;
    if (signed && signed.seq > seq) throw damaged(`records ${seq + 1} to ${signed.seq} were signed and are gone`);
    if (signed && !isSigned("checkpoint", signed, signKey))
      throw damaged(`checkpoint ${signed.seq} is not signed by this master`);
    let walked: ChainHead = signed ?? EMPTY_CHAIN;
    for await (const entry of recordEntries(store, walked.seq + 1)) {
      const record = auditRecordSchema.safeParse(decodeStored(entry)).data;
      if (!record) throw damaged(`record ${seqOf(entry)} is damaged`);
      const fault = record.seq > seq ? `record ${record.seq} is beyond its end` : recordFault(walked, record);
      if (fault !== undefined) throw damaged(fault);
      walked = record;
    }
    const newest = seq === 0 ? undefined : await store.get(recordKey(seq));
    const isThere = newest && (decodeStored(newest) as AuditRecord).hash === hash;
    if (seq > 0 && (!isThere || walked.seq !== seq || walked.hash !== hash))
      throw damaged(`record ${seq} is gone or changed`);
    this.#head = { seq, hash };
  }

  async #drain(): Promise<void> {
    // others of this tick join the first write
    await Promise.resolve();
    while (this.#waiting.length > 0 || this.#retryDue || this.#asking.length > 0) {
      if (this.#waiting.length > 0 || this.#retryDue) {
        // with nothing that waits, a retry writes the record of the failure alone
        this.#retryDue = false;
        await this.#writeBatch(this.#waiting.splice(0));
      }
      // between writes: under steady load there is always a next one
      if (this.#asking.length > 0 || this.#isCheckpointDue()) await this.#writeCheckpoint(this.#asking.splice(0));
    }
    this.#writing = undefined;
    this.#scheduleCheckpoint();
  }

  #isCheckpointDue(): boolean {
    const uncovered = this.#head.seq - (this.#checkpoint?.seq ?? 0);
    const since = this.#uncoveredSince;
    return (
      uncovered >= CHECKPOINT_EVERY ||
      (uncovered > 0 && since !== undefined && this.#options.clock.monotonicMs() - since >= CHECKPOINT_AFTER_MS)
    );
  }

  /** Signs what is written, for who asked. One that cannot be stored is made again behind the next record. */
  async #writeCheckpoint(asking: readonly Asking[]): Promise<void> {
    const { store, clock, sign } = this.#options;
    try {
      if (this.#head.seq > 0 && this.#checkpoint?.seq !== this.#head.seq) {
        const checkpoint = signChain("checkpoint", this.#head, clock.now(), sign);
        await store.write([{ op: "put", key: checkpointKey(checkpoint.seq), value: encodeStored(checkpoint) }]);
        this.#checkpoint = checkpoint;
        this.#uncoveredSince = undefined;
      }
      for (const { resolve } of asking) resolve(this.#checkpoint);
    } catch (reason) {
      for (const { reject } of asking) reject(reason);
    }
  }

  async #writeBatch(arrived: readonly Waiting[]): Promise<void> {
    const trouble = this.#trouble;
    const wanted = trouble === undefined ? arrived : [this.#gap(trouble), ...arrived];
    const { batch, records, changes, later } = this.#compose(wanted);
    this.#waiting.unshift(...later);
    if (batch.length === 0) return;
    const head = records.at(-1) ?? this.#head;
    const next = { seq: head.seq, hash: head.hash };
    try {
      const { store, clock, sign } = this.#options;
      const signed = encodeStored(signChain("head", next, clock.now(), sign));
      const result = await store.write([
        ...changes,
        { op: "put", key: HEAD, value: signed, ifRevision: this.#headRevision },
      ]);
      if (result.kind === "conflict") {
        throw new HostError("store-failed", `cannot add an audit record: "${result.key}" was changed by another`, {
          hint: "is another master running on the same store?",
        });
      }
      this.#headRevision = result.revision;
    } catch (reason) {
      this.#failed(reason, arrived.length - later.length);
      for (const { reject } of batch) reject(reason);
      return;
    }
    this.#head = next;
    this.#uncoveredSince ??= this.#options.clock.monotonicMs();
    if (trouble !== undefined) this.#recovered();
    for (const [index, { resolve }] of batch.entries()) {
      const record = records[index];
      if (!record) continue;
      resolve(record);
      for (const listener of this.#listeners) listener(record);
    }
  }

  /** Chains facts into one write; a fact whose changes touch a key of an earlier one waits for the next. */
  #compose(wanted: readonly Waiting[]) {
    const batch: Waiting[] = [];
    const records: AuditRecord[] = [];
    const changes: Change[] = [];
    const keys = new Set<string>();
    let head = this.#head;
    for (const [index, waiting] of wanted.entries()) {
      const record = chainRecord(head, waiting.fact);
      const stored: Change = { op: "put", key: recordKey(record.seq), value: encodeStored(record), ifRevision: 0 };
      let also: readonly Change[];
      try {
        also = typeof waiting.changes === "function" ? waiting.changes(record) : waiting.changes;
        assertChanges([stored, ...also]);
      } catch (reason) {
        // what the store would not take is refused alone: the write is shared
        waiting.reject(reason);
        continue;
      }
      if (also.some(({ key }) => keys.has(key))) return { batch, records, changes, later: wanted.slice(index) };
      for (const { key } of also) keys.add(key);
      head = record;
      batch.push(waiting);
      records.push(record);
      changes.push(stored, ...also);
    }
    return { batch, records, changes, later: [] };
  }

  /** The first record after a failure tells of it. */
  #gap({ since, reason, lost }: AuditTrouble): Waiting {
    const at = this.#options.clock.now();
    const data = { since, reason, lost };
    const fact: AuditFact = { at, kind: "audit-failed", actor: "master", subject: "", from: "", data };
    return { fact, changes: [], resolve: () => {}, reject: () => {} };
  }

  #failed(error: unknown, records: number): void {
    const before = this.#trouble;
    const since = before?.since ?? this.#options.clock.now();
    this.#trouble = { since, reason: errorMessage(error), lost: (before?.lost ?? 0) + records };
    if (before === undefined) this.#options.onTrouble?.(this.#trouble);
    if (this.#closed) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#retry(), RETRY_MS);
    this.#retryTimer.unref();
  }

  #retry(): void {
    if (this.#trouble === undefined || this.#writing !== undefined) return;
    this.#retryDue = true;
    this.#writing = this.#drain();
  }

  #recovered(): void {
    clearTimeout(this.#retryTimer);
    this.#trouble = undefined;
    this.#options.onTrouble?.(undefined);
  }

  /** For records after which nothing comes for a while; while something does, the writes themselves look. */
  #scheduleCheckpoint(): void {
    const uncovered = this.#head.seq - (this.#checkpoint?.seq ?? 0);
    if (uncovered === 0 || this.#closed || this.#checkpointTimer) return;
    this.#checkpointTimer = setTimeout(() => {
      this.#checkpointTimer = undefined;
      // its failure is nobody's but the next one's, which is scheduled when this one has ended
      this.signNow().catch(() => {});
    }, CHECKPOINT_AFTER_MS);
    this.#checkpointTimer.unref();
  }
}
