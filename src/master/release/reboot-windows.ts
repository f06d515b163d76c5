import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";

const windowSchema = z.object({
  id: z.string(),
  /** Operator who announced it. */
  by: z.string(),
  at: z.number(),
  until: z.number(),
  /** boot_id of the host when it was announced, which the window is not for; "" when unknown. */
  fromBoot: z.string(),
  /** boot_id that the window was used by; "" while it is unused. One window is for one boot. */
  bootId: z.string(),
});
type RebootWindow = z.infer<typeof windowSchema>;

const PREFIX = "release/reboot/";

/** Announced reboots: who said that which host would restart, and until when. */
export class RebootWindows {
  readonly #windows = new Map<string, RebootWindow>();

  /** Reads what the store knows. */
  static async load(store: Store): Promise<RebootWindows> {
    const windows = new RebootWindows();
    for (const entry of await store.list(PREFIX)) {
      const window = decodeRecord(windowSchema, entry);
      windows.#windows.set(window.id, window);
    }
    return windows;
  }

  /**
   * The window that has to do with this boot of the host, if there is one: `covers` it, or was opened during it and is for
   * the boot to come. null when that cannot be told, as one of the two boots is not known.
   */
  find(id: string, bootId: string, now: number): { readonly by: string; readonly covers: boolean | null } | undefined {
    const window = this.#windows.get(id);
    if (!window || now < window.at || now >= window.until) return undefined;
    if (window.bootId !== "" && window.bootId !== bootId) return undefined;
    const isKnown = window.fromBoot !== "" && bootId !== "";
    return { by: window.by, covers: isKnown ? window.fromBoot !== bootId : null };
  }

  /** What makes a window durable; `apply` once it is. */
  open(ids: readonly string[], by: string, now: number, windowMs: number, bootOf: (id: string) => string) {
    const until = now + windowMs;
    const windows = ids.map((id): RebootWindow => ({ id, by, at: now, until, fromBoot: bootOf(id), bootId: "" }));
    return {
      changes: windows.map((window) => putRecord(PREFIX + window.id, window, { ttlMs: windowMs + 1000 })),
      apply: () => {
        for (const window of windows) this.#windows.set(window.id, window);
      },
    };
  }

  /** Ties an open window to the new boot that came through it; at once, and in the store with `changes`. */
  use(id: string, bootId: string, now: number): readonly Change[] {
    const window = this.#windows.get(id);
    if (!window || window.bootId !== "" || this.find(id, bootId, now)?.covers !== true) return [];
    const used = { ...window, bootId };
    this.#windows.set(id, used);
    return [putRecord(PREFIX + id, used, { ttlMs: used.until - now + 1000 })];
  }
}
