import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";

const silenceSchema = z.object({ endedAt: z.number(), ms: z.number() });
const recordSchema = z.object({
  id: z.string(),
  /** When the host was last heard before it went silent; null while it is there. */
  goneSince: z.number().nullable(),
  /** Silence of the current absence that was counted before the master last stopped. */
  carriedMs: z.number(),
  /** Silences that ended, oldest first and each longer than all after it. */
  silences: z.array(silenceSchema),
});
type LivenessRecord = z.infer<typeof recordSchema>;
const upSchema = z.object({ at: z.number() });

const HOSTS = "release/liveness/";
const MASTER_UP = "release/master-up";
/** How exactly the master knows afterwards until when it was up. */
const MARK_EVERY_MS = 10_000;
const MAX_SILENCES = 64;

interface Live {
  record: LivenessRecord;
  /** Monotonic milliseconds of the last sign of life, or of this master's start. */
  heard: number;
}

export interface LivenessOptions {
  readonly store: Store;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  /** Shorter silences are not remembered. */
  readonly worthMs: number;
  /** Hears of what could not be stored. */
  readonly report: (error: unknown) => void;
}

/**
 * How long hosts were not heard of. Counted is only the time in which this master itself was up: it notes every ten
 * seconds that it is, and what lies between its last note and its next start is nobody's silence. A host that was gone
 * when the master stopped goes on being gone when it starts again; one that was there gets the start as its last sign of
 * life.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #hosts = new Map<string, Live>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: LivenessOptions) {
    this.#options = options;
  }

  /** Reads what the store knows, and starts to note that the master is up. */
  static async load(options: LivenessOptions): Promise<Liveness> {
    const liveness = new Liveness(options);
    const { store, monotonicMs } = options;
    const mark = await store.get(MASTER_UP);
    const upUntil = mark === undefined ? 0 : decodeRecord(upSchema, mark).at;
    for (const entry of await store.list(HOSTS)) {
      const record = decodeRecord(recordSchema, entry);
      const before = record.goneSince === null ? 0 : Math.max(0, upUntil - record.goneSince);
      const carried = { ...record, carriedMs: record.carriedMs + before, goneSince: options.now() };
      liveness.#hosts.set(record.id, { record: carried, heard: monotonicMs() });
    }
    await liveness.mark();
    // what was carried over must not be counted twice after the next stop
    const carried = [...liveness.#hosts.values()].map(({ record }) => putRecord(HOSTS + record.id, record));
    for (let at = 0; at < carried.length; at += 500) await store.write(carried.slice(at, at + 500));
    liveness.#timer = setInterval(() => void liveness.mark().catch(options.report), MARK_EVERY_MS);
    liveness.#timer.unref();
    return liveness;
  }

  /** Notes that the master is up. */
  async mark(): Promise<void> {
    await this.#options.store.write([putRecord(MASTER_UP, { at: this.#options.now() })]);
  }

  /** A sign of life of a host's agent. */
  heard(id: string): void {
    if (this.#closed) return;
    const { now, monotonicMs, worthMs } = this.#options;
    const live = this.#hosts.get(id);
    const monotonic = monotonicMs();
    if (!live) {
      const record = { id, goneSince: null, carriedMs: 0, silences: [] };
      this.#hosts.set(id, { record, heard: monotonic });
      this.#save(record);
      return;
    }
    const silentMs = live.record.carriedMs + monotonic - live.heard;
    live.heard = monotonic;
    const isWorth = silentMs >= worthMs;
    if (!isWorth && live.record.goneSince === null) return;
    const silences = isWorth ? add(live.record.silences, { endedAt: now(), ms: silentMs }) : live.record.silences;
    live.record = { id, goneSince: null, carriedMs: 0, silences };
    this.#save(live.record);
  }

  /** The host's agent session ended. */
  gone(id: string): void {
    const live = this.#hosts.get(id);
    if (!live || live.record.goneSince !== null || this.#closed) return;
    const { now, monotonicMs } = this.#options;
    live.record = { ...live.record, goneSince: now() - (monotonicMs() - live.heard) };
    this.#save(live.record);
  }

  /** Longest silence that had not ended at `since` (wall-clock milliseconds); null for a host that was never heard. */
  silentMs(id: string, since: number): number | null {
    const live = this.#hosts.get(id);
    if (!live) return null;
    const { now, monotonicMs } = this.#options;
    const current = live.record.carriedMs + monotonicMs() - live.heard;
    // a clock that was set back behind `since` cannot tell what came after it: then all counts
    const from = since > now() ? 0 : since;
    const ended = live.record.silences.filter(({ endedAt }) => endedAt > from).map(({ ms }) => ms);
    // a lease in the middle of an absence was a sign of life itself
    return Math.round(Math.max(0, Math.min(current, from === 0 ? current : now() - from), ...ended));
  }

  /** Forgets a host whose key was deleted. */
  async forget(id: string): Promise<void> {
    this.#hosts.delete(id);
    await this.#options.store.write([{ op: "delete", key: HOSTS + id }]);
  }

  /** Notes nothing any more. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #save(record: LivenessRecord): void {
    this.#options.store.write([putRecord(HOSTS + record.id, record)]).catch(this.#options.report);
  }
}

/** Keeps only silences that can still be the longest of some span up to now. */
function add(
  silences: LivenessRecord["silences"],
  next: LivenessRecord["silences"][number],
): LivenessRecord["silences"] {
  const kept = [...silences.filter(({ ms }) => ms > next.ms), next];
  const [oldest, second, ...rest] = kept;
  // of two the longer with the later end: too long rather than too short
  return kept.length > MAX_SILENCES && oldest && second ? [{ ...second, ms: oldest.ms }, ...rest] : kept;
}
