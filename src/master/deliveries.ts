import type { JsonObject } from "../core/json.ts";

/** How notices get to one receiver. */
export interface DeliveriesOptions {
  /** Delivers one, tried again where it fails; never rejects. */
  readonly deliver: (notice: JsonObject) => Promise<void>;
  /** The one notice that stands for those that there was no room for. */
  readonly summary: (count: number, hosts: readonly string[]) => JsonObject;
  /** Hears that there is no room, once until there is some again. */
  readonly full: () => void;
}

/** So many are under way at once, and so many wait. */
const MAX_AT_ONCE = 8;
const MAX_WAITING = 100;
/** Hosts that a summary names; it counts all. */
const MAX_NAMED = 1000;

/** Notices to one receiver, in order. What there is no room for is told of in one summary, as soon as there is some. */
export class Deliveries {
  readonly #options: DeliveriesOptions;
  readonly #waiting: JsonObject[] = [];
  readonly #leftOut = new Set<string>();
  #leftOutCount = 0;
  #underWay = 0;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  add(host: string, notice: JsonObject): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(notice);
    else {
      if (this.#leftOutCount === 0) this.#options.full();
      this.#leftOutCount += 1;
      if (this.#leftOut.size < MAX_NAMED) this.#leftOut.add(host);
    }
    this.#next();
  }

  #next(): void {
    while (this.#underWay < MAX_AT_ONCE) {
      const notice = this.#waiting.shift() ?? this.#summarise();
      if (!notice) return;
      this.#underWay += 1;
      void this.#options.deliver(notice).finally(() => {
        this.#underWay -= 1;
        this.#next();
      });
    }
  }

  #summarise(): JsonObject | undefined {
    if (this.#leftOutCount === 0) return undefined;
    const summary = this.#options.summary(this.#leftOutCount, [...this.#leftOut]);
    this.#leftOut.clear();
    this.#leftOutCount = 0;
    return summary;
  }
}
