import type { FastifyInstance } from "fastify";
import type { Clock } from "../../core/clock.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Logger } from "../../core/log.ts";
import type { MasterEndpoint } from "../../wire/endpoints.ts";
import { ROOT } from "../audit/actor.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { MasterConfig } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Store } from "../store/store.ts";
import { ReleaseRoom } from "./release-room.ts";
import { addReleaseRoutes, type ReleaseRouteOptions } from "./routes.ts";

/** What the release room needs of the master. */
export interface ReleaseParts extends Pick<
  ReleaseRouteOptions,
  "acceptedIds" | "grainsOf" | "lastSeen" | "makesKey" | "mayReboot" | "secretPaths"
> {
  readonly config: Pick<
    MasterConfig,
    "approval_minutes" | "heartbeat" | "hold_command" | "hold_webhook" | "hold_webhook_ca" | "release_policy"
  >;
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  /** Fingerprint of the master. */
  readonly master: string;
  readonly grainsOf: (id: string) => JsonObject;
  readonly endpoint: () => Pick<MasterEndpoint, "disconnect" | "sessions">;
}

/** Opens the release room of a master, and tells how its routes are added. */
export async function openRelease(
  parts: ReleaseParts,
): Promise<{ readonly release: ReleaseRoom; readonly extend: (app: FastifyInstance) => void }> {
  const { config, store, audit, events, log, clock, master, grainsOf, endpoint } = parts;
  const approvalMs = Math.round(config.approval_minutes * 60_000);
  const release = await ReleaseRoom.open({
    store,
    events,
    log,
    clock,
    master,
    approvalMs,
    grainsOf,
    bootOf: (id) => parts.lastSeen(id).bootId,
    policyPath: config.release_policy,
    heartbeatMs: Math.round(config.heartbeat * 1000),
    holdCommand: config.hold_command,
    holdWebhook: config.hold_webhook,
    holdWebhookCa: config.hold_webhook_ca,
    journal: async ({ kind, actor, subject, data }, changes = []) => {
      // a changed policy file is noticed by the master itself
      const from = kind === "policy-changed" ? "" : ROOT.from;
      await audit.append({ at: clock.now(), kind, actor, subject, from, data }, changes);
    },
    nudge: async (id) => {
      const sessions = [...endpoint().sessions()].filter(({ minionId }) => minionId === id);
      await Promise.all(sessions.map(async (session) => session.notify({ kind: "lease-retry" })));
    },
    cut: async (id) => {
      endpoint().disconnect(id);
    },
  });
  return { release, extend: (app) => addReleaseRoutes(app, { ...parts, room: release, approvalMs }) };
}
