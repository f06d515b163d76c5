import type { JobEvent } from "../../core/control-api.ts";

/** A job's events for the one who asked for it. The job goes on when the reader leaves; nothing is kept for it then. */
export class JobStream {
  #queue: JobEvent[] = [];
  /** Where in the queue the progress of a host stands: a later one takes its place, however slowly it is read. */
  #progress = new Map<string, number>();
  #wake = Promise.withResolvers<void>();
  #left = false;

  push(event: JobEvent): void {
    if (this.#left) return;
    const at = event.event === "progress" ? this.#progress.get(event.id) : undefined;
    if (event.event === "progress") this.#progress.set(event.id, at ?? this.#queue.length);
    this.#queue[at ?? this.#queue.length] = event;
    this.#wake.resolve();
  }

  /** Every event from the first to `end`, once; stops early when `signal` aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    const abort = () => this.#wake.resolve();
    signal.addEventListener("abort", abort, { once: true });
    try {
      for (;;) {
        const events = this.#queue;
        this.#queue = [];
        this.#progress = new Map();
        this.#wake = Promise.withResolvers();
        for (const event of events) {
          yield event;
          if (event.event === "end") return;
        }
        // aborted: what is there already is still handed over
        if (this.#queue.length === 0 && signal.aborted) return;
        if (this.#queue.length === 0) await this.#wake.promise;
      }
    } finally {
      this.#left = true;
      this.#queue = [];
      signal.removeEventListener("abort", abort);
    }
  }
}
