import { type Clock, systemClock } from "../../core/clock.ts";
import type { FailingVolume } from "../../core/control-api.ts";
import { Lane } from "../../core/lane.ts";
import { z } from "../../core/schema.ts";
import { type VolumeProblem, type VolumeReport, volumeReportSchema } from "../../core/volume-report.ts";
import type { VolumeEntry } from "../../core/volume-api.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";

/** Below it, volumes as their hosts last reported them: `volume/<minion id>/<name>`. */
const VOLUMES = "volume/";
const MAX_VOLUMES_PER_HOST = 200;

const entrySchema: z.ZodType<VolumeEntry> = volumeReportSchema.extend({ id: z.string(), heardAt: z.number() });
const keyOf = (id: string, name: string): string => `${VOLUMES}${id}/${encodeURIComponent(name)}`;

/** Hears of a problem with a volume that its report before did not have. */
export type OnProblem = (id: string, volume: string, problem: VolumeProblem) => void;

/** The fleet's volumes as the master last heard of them; durable, so that what a dead host had is still known. */
export class Volumes {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #lane = new Lane();
  readonly #entries = new Map<string, VolumeEntry>();

  readonly #onProblem: OnProblem;

  private constructor(store: Store, clock: Clock, onProblem: OnProblem) {
    this.#store = store;
    this.#clock = clock;
    this.#onProblem = onProblem;
  }

  /** Reads what the store knows. `onProblem` hears of each problem that a report tells of for the first time. */
  static async load(store: Store, clock: Clock = systemClock, onProblem: OnProblem = () => {}): Promise<Volumes> {
    const volumes = new Volumes(store, clock, onProblem);
    for (const entry of await store.list(VOLUMES)) volumes.#entries.set(entry.key, decodeRecord(entrySchema, entry));
    return volumes;
  }

  /** Every known volume, of one host or of all, sorted by host and name. */
  list(id?: string): readonly VolumeEntry[] {
    const all = [...this.#entries.values()].filter((entry) => id === undefined || entry.id === id);
    return all.toSorted((a, b) => (keyOf(a.id, a.volume) < keyOf(b.id, b.volume) ? -1 : 1));
  }

  /** What would not come up at the next boot of these hosts, as far as they have told. */
  failing(ids: readonly string[]): readonly FailingVolume[] {
    const meant = new Set(ids);
    return this.list().flatMap(({ id, volume, heardAt, problems }) => {
      const fatal = problems.filter((problem) => problem.fatal).map(({ code, text }) => ({ code, text }));
      return meant.has(id) && fatal.length > 0 ? [{ id, volume, heardAt, problems: fatal }] : [];
    });
  }

  get(id: string, name: string): VolumeEntry | undefined {
    return this.#entries.get(keyOf(id, name));
  }

  /** Takes in what a minion says of its volumes; resolves when it is on disk. Beyond 200 volumes a host, new ones are dropped. */
  async report(id: string, reports: readonly VolumeReport[]): Promise<void> {
    await this.#lane.run(async () => {
      let room = MAX_VOLUMES_PER_HOST - this.list(id).length;
      const entries = reports.flatMap((report) => {
        const known = this.get(id, report.volume);
        if (!known) room -= 1;
        if (!known && room < 0) return [];
        // what was proven stays proven while the header is the same one
        const proven =
          known?.luksUuid === report.luksUuid && known.proven.at > report.proven.at ? known.proven : report.proven;
        return [{ ...report, proven, id, heardAt: this.#clock.now() }];
      });
      const fresh = entries.flatMap((entry) => newProblems(this.get(id, entry.volume), entry));
      await this.#write(entries);
      for (const [volume, problem] of fresh) this.#onProblem(id, volume, problem);
    });
  }

  /** Forgets volumes: those of a host, or one of them. */
  async forget(id: string, name?: string): Promise<void> {
    await this.#lane.run(async () => {
      const gone = this.list(id).filter(({ volume }) => name === undefined || volume === name);
      if (gone.length === 0) return;
      const keys = gone.map(({ volume }) => keyOf(id, volume));
      await this.#store.write(keys.map((key) => ({ op: "delete", key })));
      for (const key of keys) this.#entries.delete(key);
    });
  }

  async #write(entries: readonly VolumeEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const latest = new Map(entries.map((entry) => [keyOf(entry.id, entry.volume), entry]));
    await this.#store.write([...latest].map(([key, entry]) => putRecord(key, entry)));
    for (const [key, entry] of latest) this.#entries.set(key, entry);
  }
}

function newProblems(before: VolumeEntry | undefined, now: VolumeEntry): readonly (readonly [string, VolumeProblem])[] {
  const known = new Set(before?.problems.map(({ code }) => code));
  return now.problems.filter(({ code }) => !known.has(code)).map((problem) => [now.volume, problem] as const);
}
