import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";
import { pathName } from "./path-name.ts";

/** What was released of one secret to one host, as far as rules ask for it. */
const historySchema = z.object({
  id: z.string(),
  path: z.string(),
  /** Kernel boot_id, by the host's word, of the last release. */
  bootId: z.string(),
  /** Releases in that boot, by purpose and device. */
  inBoot: z.record(z.string(), z.number()),
  lastAt: z.number(),
  /** Moments of the releases of the last 24 hours. */
  recent: z.array(z.number()),
});
type History = z.infer<typeof historySchema>;

/** One lease that is asked for. */
export interface LeaseUse {
  readonly id: string;
  readonly path: string;
  readonly purpose: string;
  readonly device: string;
  readonly bootId: string;
}

/** What the history says to a lease that is asked for. */
export interface HistoryFacts {
  readonly everLeased: boolean;
  readonly newBoot: boolean;
  readonly leasesThisBoot: number;
  readonly leasesInDay: number;
  /** 0 for never. */
  readonly lastAt: number;
}

/** A release under way: counted already, so that another request sees it. */
export interface Reservation {
  /** To be written together with the record of the release. */
  readonly changes: readonly Change[];
  /** To be called when the release did not happen. */
  readonly cancel: () => void;
}

const PREFIX = "release/history/";
const DAY_MS = 86_400_000;
/** More releases a day than this are not told apart by a budget. */
const MAX_RECENT = 2000;

const keyOf = (id: string, path: string) => `${PREFIX}${id}/${pathName(path)}`;
const useOf = ({ purpose, device }: LeaseUse) => `${purpose} ${device}`;

function countOf(inBoot: History["inBoot"], use: LeaseUse): number {
  if (use.device !== "") return inBoot[useOf(use)] ?? 0;
  const counts = Object.entries(inBoot).filter(([key]) => key.startsWith(`${use.purpose} `));
  return counts.reduce((sum, [, count]) => sum + count, 0);
}

/** Index of the first moment after `since`, the length when there is none. */
function firstSince(recent: History["recent"], since: number): number {
  const index = recent.findIndex((at) => at > since);
  return index === -1 ? recent.length : index;
}

function withNext(recent: History["recent"], now: number): number[] {
  const kept = recent.slice(Math.max(firstSince(recent, now - DAY_MS), recent.length - MAX_RECENT + 1));
  kept.push(now);
  return kept;
}

/** Releases by host and secret, as rules count them: in memory, and in the store with each release. */
export class LeaseHistory {
  readonly #entries = new Map<string, History>();

  /** Reads what the store knows. */
  static async load(store: Store): Promise<LeaseHistory> {
    const history = new LeaseHistory();
    for (const entry of await store.list(PREFIX)) history.#entries.set(entry.key, decodeRecord(historySchema, entry));
    return history;
  }

  /** What came before; releases under way count as done. Without a device all devices are meant together. */
  facts(use: LeaseUse, now: number): HistoryFacts {
    const entry = this.#entries.get(keyOf(use.id, use.path));
    if (!entry) return { everLeased: false, newBoot: true, leasesThisBoot: 0, leasesInDay: 0, lastAt: 0 };
    const newBoot = entry.bootId !== use.bootId;
    return {
      everLeased: true,
      newBoot,
      leasesThisBoot: newBoot ? 0 : countOf(entry.inBoot, use),
      leasesInDay: entry.recent.length - firstSince(entry.recent, now - DAY_MS),
      lastAt: entry.lastAt,
    };
  }

  /** Counts a release from now on. */
  reserve(use: LeaseUse, now: number): Reservation {
    const key = keyOf(use.id, use.path);
    const before = this.#entries.get(key);
    const same = before?.bootId === use.bootId;
    const inBoot = same ? before.inBoot : {};
    const next: History = {
      id: use.id,
      path: use.path,
      bootId: use.bootId,
      inBoot: { ...inBoot, [useOf(use)]: (inBoot[useOf(use)] ?? 0) + 1 },
      lastAt: now,
      recent: before ? withNext(before.recent, now) : [now],
    };
    this.#entries.set(key, next);
    return {
      changes: [putRecord(key, next)],
      // what came after it stands on its count: better one too many than one too few
      cancel: () => {
        if (this.#entries.get(key) !== next) return;
        if (before) this.#entries.set(key, before);
        else this.#entries.delete(key);
      },
    };
  }
}
