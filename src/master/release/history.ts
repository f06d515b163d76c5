import { z } from "../../core/schema.ts";
import { MAX_BUDGET } from "../policy/rules.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";
import { pathName } from "./path-name.ts";

const bootSchema = z.object({
  /** Kernel boot_id, by the host's word. */
  bootId: z.string(),
  /** Releases in that boot, by purpose and device: see `useOf`. */
  uses: z.record(z.string(), z.number()),
});
/** What was released of one secret to one host, as far as rules ask for it. */
const historySchema = z.object({
  id: z.string(),
  path: z.string(),
  /** The boot that need not be announced any more; "" when the last release was in one that nobody vouched for. */
  settledBoot: z.string(),
  /** When nothing was left to say of the host's silence: silence before it does not count. */
  heardAt: z.number(),
  /** The last boots with releases, the latest last: an earlier one that comes back is known. */
  boots: z.array(bootSchema),
  /** Moments of the releases of the last 24 hours. */
  recent: z.array(z.number()),
});
type History = z.infer<typeof historySchema>;
type Boot = z.infer<typeof bootSchema>;

/** One lease that is asked for. */
export interface LeaseUse {
  readonly id: string;
  readonly path: string;
  readonly purpose: string;
  readonly device: string;
  readonly bootId: string;
}

/** What the history says to a lease that is asked for; null where the host does not say which boot it is in. */
export interface HistoryFacts {
  readonly everLeased: boolean;
  readonly newBoot: boolean | null;
  readonly leasesThisBoot: number | null;
  readonly leasesInDay: number;
  /** From when on silence counts; 0 for never leased. */
  readonly heardAt: number;
}

/** What a release settles: only then is its boot no new one, and the silence before it past. */
export interface Settles {
  readonly boot: boolean;
  readonly silence: boolean;
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
/** Boots that are remembered, and devices that are told apart in one: a host names both, and must not fill the store. */
const MAX_BOOTS = 16;
const MAX_USES = 64;

const keyOf = (id: string, path: string) => `${PREFIX}${id}/${pathName(path)}`;
/** A device's name is a path as well, and as long as its host likes. */
const deviceName = (device: string) => pathName(device).slice(0, 16);

/** How releases of a purpose are counted: by device, and those of all further devices together once there are too many. */
function useOf(uses: Boot["uses"], { purpose, device }: LeaseUse): string {
  const own = `${purpose} ${deviceName(device)}`;
  return own in uses || Object.keys(uses).length < MAX_USES ? own : `${purpose} others`;
}

function countOf(uses: Boot["uses"], use: LeaseUse): number {
  if (use.device !== "") return uses[useOf(uses, use)] ?? 0;
  const counts = Object.entries(uses).filter(([key]) => key.startsWith(`${use.purpose} `));
  return counts.reduce((sum, [, count]) => sum + count, 0);
}

/** Index of the first moment after `since`, the length when there is none. */
function firstSince(recent: History["recent"], since: number): number {
  const index = recent.findIndex((at) => at > since);
  return index === -1 ? recent.length : index;
}

function withNext(recent: History["recent"], now: number): number[] {
  const kept = recent.slice(Math.max(firstSince(recent, now - DAY_MS), recent.length - MAX_BUDGET + 1));
  kept.push(now);
  return kept;
}

function withUse(boots: History["boots"], use: LeaseUse): Boot[] {
  const uses = boots.find(({ bootId }) => bootId === use.bootId)?.uses ?? {};
  const key = useOf(uses, use);
  const others = boots.filter(({ bootId }) => bootId !== use.bootId);
  return [...others.slice(-MAX_BOOTS + 1), { bootId: use.bootId, uses: { ...uses, [key]: (uses[key] ?? 0) + 1 } }];
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
    if (!entry) return { everLeased: false, newBoot: true, leasesThisBoot: 0, leasesInDay: 0, heardAt: 0 };
    const boot = entry.boots.find(({ bootId }) => bootId === use.bootId);
    const isKnown = use.bootId !== "";
    return {
      everLeased: true,
      newBoot: isKnown ? entry.settledBoot !== use.bootId : null,
      leasesThisBoot: isKnown ? (boot ? countOf(boot.uses, use) : 0) : null,
      leasesInDay: entry.recent.length - firstSince(entry.recent, now - DAY_MS),
      heardAt: entry.heardAt,
    };
  }

  /** Counts a release from now on. */
  reserve(use: LeaseUse, now: number, settles: Settles): Reservation {
    const key = keyOf(use.id, use.path);
    const before = this.#entries.get(key);
    const { id, path, bootId } = use;
    const next: History = {
      id,
      path,
      // a release in a boot that nobody vouched for also ends that the boot before is known
      settledBoot: settles.boot || before?.settledBoot === bootId ? bootId : "",
      heardAt: settles.silence ? now : (before?.heardAt ?? now),
      boots: withUse(before?.boots ?? [], use),
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
