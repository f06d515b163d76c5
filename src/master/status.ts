import type { MasterStatus } from "../core/control-api.ts";
import type { StuckErasure } from "../core/volume-api.ts";
import { VERSION } from "../core/version.ts";
import type { MasterEndpoint } from "../wire/endpoints.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import type { Jobs } from "./jobs/jobs.ts";
import type { Volumes } from "./volumes/volumes.ts";

/** Whom the master asks how it is. */
export interface StatusParts {
  readonly fingerprint: string;
  readonly startedAt: number;
  readonly wire: Pick<MasterEndpoint, "connections" | "drops" | "returnPort">;
  readonly jobs: Pick<Jobs, "unprovenClaims">;
  readonly audit: Pick<AuditLog, "head" | "trouble">;
  readonly volumes: Pick<Volumes, "failing">;
  readonly acceptedIds: () => readonly string[];
  readonly stuck: () => readonly StuckErasure[];
}

/** What `latchkey status` shows beside the minions. */
export function masterStatus(parts: StatusParts): Omit<MasterStatus, "minions"> {
  const { fingerprint, startedAt, wire, jobs, audit, volumes, acceptedIds, stuck } = parts;
  const claims = jobs.unprovenClaims > 0 ? { "unproven-job-number": jobs.unprovenClaims } : {};
  return {
    version: VERSION,
    fingerprint,
    startedAt,
    returnPort: wire.returnPort,
    connections: wire.connections(),
    drops: { ...wire.drops(), ...claims },
    audit: { seq: audit.head.seq, failing: audit.trouble ?? null },
    nextBootFails: volumes.failing(acceptedIds()),
    stuckErasures: stuck(),
  };
}
