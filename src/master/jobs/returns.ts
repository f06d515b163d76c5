import { type Clock, systemClock } from "../../core/clock.ts";
import type { JsonObject } from "../../core/json.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import type { Logger } from "../../core/log.ts";
import type { Request } from "../../wire/messages.ts";
import type { EventBus } from "../events.ts";
import type { Hosts } from "../hosts.ts";
import { decodeRecord, encodeRecord } from "../store/record.ts";
import type { Change, PutChange, Size, Store } from "../store/store.ts";
import { type JobRecord, jobKey, jobRecordSchema, ownReturnKey, type ReturnRecord, returnKey } from "./job-record.ts";
import { highstateSummary } from "./summary.ts";

/** What returns work with. */
export interface ReturnsOptions {
  readonly store: Store;
  readonly hosts: Hosts;
  readonly events: EventBus;
  readonly log: Logger;
  readonly keepMs: number;
  readonly clock?: Clock;
}

/** Of the stored record. */
const MAX_RECORD_BYTES = 8 * 1024 * 1024;
/** Returns of own runs that are kept of one minion, and their bytes; the oldest go first. */
const MAX_OWN = 50;
const MAX_OWN_BYTES = 32 * 1024 * 1024;

/** Returns on their way to the disk (I8). Whose they are is decided by the session alone. */
export class Returns {
  readonly #options: ReturnsOptions;
  readonly #clock: Clock;
  /** Jobs looked up lately, so that a fleet's returns do not read one record a thousand times. */
  readonly #jobs = new Map<string, JobRecord>();
  /** One own return of a minion after the other: each makes room for itself. */
  readonly #own = new KeyedLanes();

  constructor(options: ReturnsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Keeps a minion's return, once: a second delivery changes nothing. A return for a job that named other minions is
   * dropped with an event, and undefined comes back; one for no job of the master is a run that the minion started
   * itself. Resolves when all is durable; throws HostError when it cannot be.
   */
  async keep(id: string, body: Request<"return">): Promise<ReturnRecord | undefined> {
    const job = await this.#job(body.jid);
    if (job !== undefined && !job.ids.includes(id)) {
      this.#options.events.emit(`return/refused/${id}`, { id, jid: body.jid, reason: "the job named other minions" });
      this.#options.log.warn({ id, jid: body.jid }, "return dropped: the job named other minions");
      return undefined;
    }
    const { record, value } = bounded({ ...body, id, receivedAt: this.#clock.now() });
    if (job === undefined) await this.#own.run(id, async () => this.#keepOwn(record, value));
    else await this.#write(record, this.#put(returnKey(body.jid, id), value), [], isPartial(job));
    const { jid, fun, success, retcode, startup } = record;
    this.#options.events.emit(`return/${jid}/${id}`, { id, jid, fun, success, retcode, startup });
    return record;
  }

  async #job(jid: string): Promise<JobRecord | undefined> {
    const known = this.#jobs.get(jid);
    if (known !== undefined) return known;
    const entry = await this.#options.store.get(jobKey(jid));
    if (entry === undefined) return undefined;
    const record = decodeRecord(jobRecordSchema, entry);
    if (this.#jobs.size >= 20) this.#jobs.delete(this.#jobs.keys().next().value ?? "");
    this.#jobs.set(jid, record);
    return record;
  }

  async #keepOwn(record: ReturnRecord, value: Uint8Array): Promise<void> {
    const put = this.#put(ownReturnKey(record.id, record.jid), value);
    const kept = await this.#options.store.sizes(ownReturnKey(record.id, ""));
    // a second delivery is a conflict anyway
    const others = kept.filter(({ key }) => key !== put.key);
    const deletes = tooOld(others, put.value.length).map((key): Change => ({ op: "delete", key }));
    // a run by hand counts as a highstate only if it was one whole
    await this.#write(record, put, deletes, !record.startup && record.fun !== "state.highstate");
  }

  #put(key: string, value: Uint8Array): PutChange {
    return { op: "put", key, value, ifRevision: 0, ttlMs: this.#options.keepMs };
  }

  async #write(record: ReturnRecord, put: Change, more: readonly Change[], partial: boolean): Promise<void> {
    const { store, hosts } = this.#options;
    const changes = [put, ...more];
    const last = highstateSummary(record, partial);
    // a conflict means that the return is there already, durable since its first delivery
    if (last === undefined) await store.write(changes);
    else await hosts.noteHighstate(record.id, last, async (change) => store.write([...changes, change]));
  }
}

/** Keys of the oldest that have no room beside a new one of `bytes`. */
function tooOld(kept: readonly Size[], bytes: number): readonly string[] {
  let room = MAX_OWN_BYTES - bytes;
  let count = 1;
  const keys: string[] = [];
  for (const { key, bytes: size } of kept.toReversed()) {
    room -= size;
    count += 1;
    if (room < 0 || count > MAX_OWN) keys.push(key);
  }
  return keys;
}

/** `state.apply` of named SLS files, or in test mode, says nothing of the highstate. */
function isPartial(job: JobRecord): boolean {
  const mods: JsonObject = job.kwargs;
  const named = job.args.length > 0 || mods["mods"] !== undefined;
  return mods["test"] === true || (job.fun !== "state.highstate" && named);
}

/** The record and its bytes, made once: of a large return that takes longer than all else. */
function bounded(record: ReturnRecord): { readonly record: ReturnRecord; readonly value: Uint8Array } {
  const value = encodeRecord(record);
  if (value.length <= MAX_RECORD_BYTES) return { record, value };
  const data = `return of ${value.length} bytes left out: more than ${MAX_RECORD_BYTES}`;
  const short = { ...record, data };
  return { record: short, value: encodeRecord(short) };
}
