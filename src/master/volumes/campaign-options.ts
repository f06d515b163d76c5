import type { Clock } from "../../core/clock.ts";
import type { JobEvent, JobRequest } from "../../core/control-api.ts";
import type { Logger } from "../../core/log.ts";
import type { CampaignRequest } from "../../core/volume-api.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import type { Store } from "../store/store.ts";

/** What campaigns work with. */
export interface CampaignsOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  /** Accepted minions that a target matches, and ids it names that are none. Throws ConfigError `bad-target`. */
  readonly match: (target: CampaignRequest["target"]) => Record<"ids" | "unknown", readonly string[]>;
  readonly acceptedIds: () => readonly string[];
  readonly isConnected: (id: string) => boolean;
  /** Whether the last heartbeat of a host lists a rotation. */
  readonly isRotating: (id: string) => boolean;
  /** Volumes of a host that are left to rotate since a moment, of those named (or of all). Throws for a broken pillar. */
  readonly left: (id: string, volumes: readonly string[], since: number) => Promise<readonly string[]>;
  /** Publishes a job; its events, to the last. */
  readonly push: (request: JobRequest, signal: AbortSignal) => Promise<AsyncIterable<JobEvent>>;
  /** How long hosts have to connect again after a start of the master, before one of them counts as away. */
  readonly settleMs: number;
}
