import type { Clock } from "../../core/clock.ts";
import type { Identity } from "../../core/identity.ts";
import type { LeasePurpose } from "../../core/lease-purpose.ts";
import type { Logger } from "../../core/log.ts";
import type { Secret } from "../../core/secret.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import type { Reason } from "../policy/facts.ts";
import type { Store } from "../store/store.ts";
import type { KnownHeaders } from "../volumes/known-headers.ts";
import type { Passphrases } from "../volumes/passphrases.ts";
import type { Authorize, LeaseFacts } from "./decision.ts";

/** A secret in hand, durable in the store before it is here (I1). Whoever asked for it wipes it. */
export interface ResolvedSecret {
  readonly secret: Secret;
  readonly version: number;
  readonly generated: boolean;
}

/** The points that an allowed lease passes, in this order; a master that dies at any of them released nothing unrecorded. */
export type LeasePoint = "asked" | "decided" | "resolved" | "recorded" | "sealed";

/** What leases work with. */
export interface LeasesOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly events: EventBus;
  readonly log: Logger;
  readonly identity: Identity;
  /** This minion's own compiled pillar, which names what it may lease. Throws when it is broken. */
  readonly compilePillar: (id: string) => Promise<CompiledPillar>;
  /** The secret itself, made and stored first when it is to be generated; undefined when there is none. */
  readonly resolveSecret: (
    id: string,
    pillar: CompiledPillar,
    path: string,
    purpose: LeasePurpose,
    version: number,
  ) => Promise<ResolvedSecret | undefined>;
  /** Recovery passphrases that operators have handed in, by ticket. */
  readonly passphrases?: Pick<Passphrases, "has" | "take">;
  /** Compares LUKS headers with those on record; left out where no header is known. */
  readonly knownHeaders?: Pick<KnownHeaders, "look" | "opened">;
  /** Left out: no release policy. */
  readonly authorize?: Authorize;
  /** What forbids a host everything by now, also what no policy is asked about: that it was revoked or locked. */
  readonly stopped?: (facts: LeaseFacts) => Reason | undefined;
  /** How long lists know a lease; its audit record stays. */
  readonly keepMs: number;
  readonly clock?: Clock;
  /** Called at each point of a lease: where tests end the process. */
  readonly reached?: (point: LeasePoint) => void;
}
