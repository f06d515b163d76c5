import { join } from "node:path";
import { CANARY_PATH } from "../../core/canary.ts";
import { maskNeedles, type MaskedNeedles } from "../../core/masked-needles.ts";
import type { Secret } from "../../core/secret.ts";
import type { FunctionContext } from "../functions/function.ts";
import { keyFileDirectories } from "../key-file.ts";
import { type Channel, passThrough } from "./channel.ts";
import { Hunt, type HuntLimits, type PlaceReport } from "./hunt.ts";
import { type Place, PLACES } from "./place-names.ts";
import { type Ground, huntIn } from "./places.ts";
import { plantIn, type Uproot } from "./plants.ts";
import { sampleProcesses, sampleWhile } from "./process-sampler.ts";

/** How a check is done. */
export interface LeakcheckOptions {
  readonly timeMs: number;
  /** Most bytes that are read of one place. */
  readonly bytesOfPlace: number;
  /** Places where the canary is leaked on purpose. */
  readonly plant: readonly Place[];
}

/** What a check found. */
export interface LeakcheckReport {
  readonly clean: boolean;
  readonly channel: Channel;
  readonly tookMs: number;
  readonly places: readonly PlaceReport[];
}

interface Leased {
  readonly needles: MaskedNeedles;
  readonly processes: Hunt;
  readonly channel: Channel;
}

/**
 * Leases a canary as a state leases a key, passes it on as a key is passed on, lets it be wiped, and then hunts for it.
 * Throws what a lease throws.
 */
export async function leakcheck(options: LeakcheckOptions, context: FunctionContext): Promise<LeakcheckReport> {
  const { host, signal, minion } = context;
  const begunAt = performance.now();
  const total = PLACES.length + 1;
  const endsAt = begunAt + options.timeMs;
  // file systems keep time in ticks, which lag behind a clock
  const begunMs = Date.now() - 1000;
  /** Bounds for the place of this number: each gets an even share of the time that is left, so that none is left out. */
  const limitsOf = (index: number): HuntLimits => {
    const now = performance.now();
    const until = now + Math.max(0, endsAt - now) / (PLACES.length - index);
    return {
      bytes: options.bytesOfPlace,
      begunMs,
      ends: () => signal.aborted || performance.now() > until,
      searched: (bytes, of) => {
        const current = `${PLACES[index] ?? ""}, ${Math.floor(bytes / 2 ** 20)} of ${Math.ceil(of / 2 ** 20)} MiB`;
        minion.progress({ done: index + 1, total, current });
      },
    };
  };
  const ground: Ground = {
    config: minion.config,
    swapStandIn: options.plant.includes("swap")
      ? join(minion.config.stateDir, `leakcheck-swap-${process.pid}`)
      : undefined,
  };
  const planted: Uproot[] = [];
  minion.progress({ done: 0, total, current: "the canary's way" });

  const way = async (secret: Secret): Promise<Leased> => {
    const needles = maskNeedles(secret.expose());
    const processes = new Hunt("processes", needles, { ...limitsOf(0), ends: () => signal.aborted });
    for (const place of options.plant) planted.push(await plantIn(place, secret, host, ground));
    const directories = keyFileDirectories(minion.config.runDir);
    const channel = await sampleWhile(processes, async () => passThrough(host, secret, directories, signal));
    return { needles, processes, channel };
  };

  try {
    const { needles, processes, channel } = await minion.lease(
      `secret:${CANARY_PATH}`,
      "open",
      { device: "leakcheck" },
      async ({ secret }) => way(secret),
    );
    const places: PlaceReport[] = [];
    for (const [index, place] of PLACES.entries()) {
      minion.progress({ done: index + 1, total, current: place });
      const hunt = place === "processes" ? processes : new Hunt(place, needles, limitsOf(index));
      if (place === "processes") sampleProcesses(hunt);
      else await huntIn(place, hunt, ground);
      places.push(hunt.report());
    }
    const tookMs = Math.round(performance.now() - begunAt);
    return { clean: places.every(({ hits }) => hits.length === 0), channel, tookMs, places };
  } finally {
    for (const uproot of planted) await uproot();
  }
}
