import { setTimeout as delay } from "node:timers/promises";
import { percentiles } from "./percentiles.ts";
import { benchId, type MasterPorts, SimulatedMinion } from "./simulated-minion.ts";

const HOSTS = 20;
const LEASES_A_SECOND = 100;
const RECONNECTING = 5;
const RECONNECTS_A_SECOND = 5;
/** Leases in a row that must be as quick as before for a master to have recovered. */
const IN_A_ROW = 20;

interface Sample {
  readonly dueAt: number;
  readonly endedAt: number;
}

/** How honest hosts were served for a while. */
export interface Served {
  readonly leasesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Connection, handshake and lease of a host that had a session before. */
  readonly reconnectP99Ms: number;
  readonly failed: number;
}

/**
 * Honest hosts that ask for their keys at a steady pace, whatever the master does: a lease that had to wait for the one before
 * it counts from when it was due, so that no standstill is left out. A host has one that waits so, and not a whole row of them.
 */
export class HonestLoad {
  readonly #hosts: readonly SimulatedMinion[];
  readonly #reconnecting: readonly SimulatedMinion[];
  readonly #leases: Sample[] = [];
  readonly #reconnects: Sample[] = [];
  readonly #failures: number[] = [];
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(ports: MasterPorts) {
    const host = (_: unknown, index: number) => new SimulatedMinion(benchId(index), ports);
    this.#hosts = Array.from({ length: HOSTS }, host);
    this.#reconnecting = Array.from({ length: RECONNECTING }, host);
  }

  /** Connects every host, has its key made, and begins. */
  async start(): Promise<void> {
    for (const minion of [...this.#hosts, ...this.#reconnecting]) {
      await minion.connect();
      await minion.lease("password", "format");
    }
    for (const minion of this.#reconnecting) await minion.close();
    const lease = async (minion: SimulatedMinion) => await minion.lease("password");
    const again = async (minion: SimulatedMinion) => {
      try {
        await minion.connect();
        await minion.lease("password");
      } finally {
        await minion.close();
      }
    };
    this.#running = Promise.all([
      ...this.#hosts.map(async (minion, n) => {
        await this.#pace(this.#leases, (1000 * HOSTS) / LEASES_A_SECOND, n / HOSTS, async () => await lease(minion));
      }),
      ...this.#reconnecting.map(async (minion, n) => {
        const everyMs = (1000 * RECONNECTING) / RECONNECTS_A_SECOND;
        await this.#pace(this.#reconnects, everyMs, n / RECONNECTING, async () => await again(minion));
      }),
    ]);
  }

  /** How it went between two moments of `performance.now()`. */
  between(from: number, to: number): Served {
    const within = ({ dueAt, endedAt }: Sample) => endedAt >= from && dueAt < to;
    const ms = ({ dueAt, endedAt }: Sample) => endedAt - dueAt;
    const leases = this.#leases.filter(within);
    const { median, p99 } = percentiles(leases.map(ms));
    const served = this.#leases.filter(({ endedAt }) => endedAt >= from && endedAt < to);
    return {
      leasesPerSecond: (served.length * 1000) / (to - from),
      p50Ms: median,
      p99Ms: p99,
      reconnectP99Ms: percentiles(this.#reconnects.filter(within).map(ms)).p99,
      failed: this.#failures.filter((at) => at >= from && at < to).length,
    };
  }

  /** Milliseconds from `from` until leases were served within `limitMs` again; undefined when they are not yet. */
  recoveredAfter(from: number, limitMs: number): number | undefined {
    const ended = this.#leases.filter(({ endedAt }) => endedAt >= from);
    let first: Sample | undefined;
    let row = 0;
    for (const lease of ended) {
      row = lease.endedAt - lease.dueAt <= limitMs ? row + 1 : 0;
      if (row === 1) first = lease;
      if (row === IN_A_ROW) return (first?.endedAt ?? from) - from;
    }
    return undefined;
  }

  /** Ends every host's connection. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    for (const minion of [...this.#hosts, ...this.#reconnecting]) await minion.close();
  }

  async #pace(samples: Sample[], everyMs: number, phase: number, work: () => Promise<void>): Promise<void> {
    let due = performance.now() + everyMs * phase;
    while (!this.#stop.signal.aborted) {
      const early = due - performance.now();
      if (early > 0) await delay(early);
      // a timer of this process that comes late is no delay of the master's
      const dueAt = early > 0 ? performance.now() : due;
      try {
        await work();
        samples.push({ dueAt, endedAt: performance.now() });
      } catch (error) {
        this.#failures.push(performance.now());
        if (this.#failures.length <= 3) console.error("an honest host was not served:", error);
        await delay(everyMs);
      }
      due = Math.max(due + everyMs, performance.now() - everyMs);
    }
  }
}
