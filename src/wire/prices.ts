import { type Method, methods } from "./messages.ts";

/**
 * What bounds a method beside its time: `kept` bytes stay in the store for each request, `record` leaves a record in the audit
 * log or the store, `work` compiles or reads much on the master, `none` is bounded by its time alone.
 */
export type Pace = "kept" | "none" | "record" | "work";

/** What one request costs the master. */
export interface Price {
  /** Microseconds of its event loop for the smallest request. */
  readonly us: number;
  /** And for each KiB of the request. */
  readonly usPerKib: number;
  readonly pace: Pace;
}

const price = (us: number, usPerKib: number, pace: Pace): Price => ({ us, usPerKib, pace });

/**
 * What each method costs at its smallest and its largest frame, in time of one core: estimates on the high side, save that of a return, which was measured. A method
 * without a price cannot be served.
 */
export const PRICES: Readonly<Record<Method, Price>> = {
  hello: price(400, 20, "none"),
  heartbeat: price(150, 10, "none"),
  "jobs.since": price(300, 10, "none"),
  "job.ack": price(50, 10, "none"),
  "job.progress": price(50, 10, "none"),
  return: price(500, 30, "kept"),
  pillar: price(20_000, 10, "work"),
  "files.list": price(20_000, 10, "work"),
  "files.get": price(1000, 10, "none"),
  lease: price(500, 10, "record"),
  "lease.receipt": price(300, 10, "record"),
  "volume.report": price(1000, 30, "none"),
  "volume.work": price(1000, 10, "none"),
  "volume.rotation": price(1000, 10, "record"),
  "volume.erased": price(1000, 10, "record"),
  "volume.forget": price(1000, 10, "record"),
  "header.offer": price(500, 10, "none"),
  "header.chunk": price(300, 5, "none"),
  "header.store": price(20_000, 10, "record"),
  "header.list": price(500, 10, "none"),
  "header.get": price(5000, 10, "record"),
  "header.known": price(300, 10, "none"),
  bye: price(20, 10, "none"),
};

/** A request that names no method of ours is read and refused. */
const UNKNOWN: Price = price(50, 10, "none");

/** The price of what calls itself `method`. */
export function priceOf(method: string): Price {
  return Object.hasOwn(methods, method) ? PRICES[method as Method] : UNKNOWN;
}

/** Microseconds that a request of so many bytes takes. */
export function microsecondsOf({ us, usPerKib }: Price, bytes: number): number {
  return us + (bytes / 1024) * usPerKib;
}
