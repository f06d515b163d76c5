import type { StoreEvent } from "./store.ts";

/** The watches on one store. */
export class Watchers {
  readonly #watches = new Set<{ readonly prefix: string; readonly listener: (event: StoreEvent) => void }>();

  /** Adds a watch; the returned function ends it. */
  add(prefix: string, listener: (event: StoreEvent) => void): () => void {
    const watch = { prefix, listener };
    this.#watches.add(watch);
    return () => {
      this.#watches.delete(watch);
    };
  }

  /** Tells every watch whose prefix fits. */
  tell(events: readonly StoreEvent[]): void {
    for (const event of events) {
      for (const { prefix, listener } of this.#watches) if (event.key.startsWith(prefix)) listener(event);
    }
  }
}
