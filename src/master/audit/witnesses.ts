import type { AuditRecord } from "../../core/audit/chain.ts";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { EventBus } from "../events.ts";
import { Throttle } from "../leases/throttle.ts";
import type { Store } from "../store/store.ts";
import type { AuditLog } from "./audit-log.ts";
import { decodeStored, recordKey } from "./stored.ts";

/** What a minion says that it keeps of the chain. */
export interface Kept {
  readonly seq: number;
  readonly hash: string;
}

/** What comparing rests on. */
export interface WitnessesOptions {
  readonly audit: Pick<AuditLog, "head">;
  readonly store: Store;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock?: Clock;
}

/** Disputes of one minion that are told: a host that says another word each time could otherwise bury those of others. */
const DISPUTES = { burst: 3, everyMs: 60_000 };

/** Compares what minions keep of the audit chain with the chain itself, as their heartbeats come. */
export class Witnesses {
  readonly #options: WitnessesOptions;
  /** By minion id: what it said last. */
  readonly #said = new Map<string, string>();
  readonly #disputes: Throttle;

  constructor(options: WitnessesOptions) {
    this.#options = options;
    this.#disputes = new Throttle(DISPUTES.burst, DISPUTES.everyMs, options.clock ?? systemClock);
  }

  /** Says loudly, once, when a minion keeps a checkpoint that this chain does not hold. Never throws. */
  async heard(id: string, kept: Kept): Promise<void> {
    const word = `${kept.seq} ${kept.hash}`;
    if (this.#said.get(id) === word) return;
    this.#said.set(id, word);
    const { events, log } = this.#options;
    const fault = await this.#fault(kept);
    if (fault === undefined) return;
    const suppressed = this.#disputes.take(id);
    if (suppressed === undefined) return;
    events.emit(`audit/disputed/${id}`, { id, seq: kept.seq, hash: kept.hash, fault });
    log.error({ id, seq: kept.seq, fault, suppressed }, "a minion keeps a checkpoint that the audit log does not hold");
  }

  async #fault({ seq, hash }: Kept): Promise<string | undefined> {
    const { audit, store } = this.#options;
    if (seq > audit.head.seq) return `record ${seq} was signed and is gone: the chain was cut off at the end`;
    try {
      const entry = await store.get(recordKey(seq));
      if (entry && (decodeStored(entry) as AuditRecord).hash === hash) return undefined;
    } catch {
      return `record ${seq} is damaged`;
    }
    return `record ${seq} is not the one that was signed: the chain was rewritten`;
  }
}
