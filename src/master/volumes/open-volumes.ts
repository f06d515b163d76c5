import { ConfigError } from "../../core/errors.ts";
import type { FastifyInstance } from "fastify";
import type { Clock } from "../../core/clock.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Logger } from "../../core/log.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { MasterConfig } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Hosts } from "../hosts.ts";
import type { JobRequest } from "../../core/control-api.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { readLastLeases } from "../leases/list.ts";
import { ROOT } from "../audit/actor.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import { Notifier } from "../notify.ts";
import type { PillarRoom } from "../pillar-room.ts";
import type { ReleaseRoom } from "../release/release-room.ts";
import type { Store } from "../store/store.ts";
import { volumeJobFact } from "./audited-jobs.ts";
import { addCampaignRoutes } from "./campaign-routes.ts";
import type { Campaigns } from "./campaigns.ts";
import { declaredKeyPath } from "./declared.ts";
import { addErasureRoutes } from "./erasure-routes.ts";
import { ErasedSlots } from "./erased-slots.ts";
import { type ErasurePoint, Erasures } from "./erasures.ts";
import { Forgetting } from "./forget.ts";
import { VolumeGuard } from "./guard.ts";
import { HeaderRequests, type ForgottenThrough } from "./header-requests.ts";
import { addHeaderRoutes } from "./header-routes.ts";
import { Headers } from "./headers.ts";
import { KnownHeaders } from "./known-headers.ts";
import { lockBeforeJob } from "./lock-jobs.ts";
import { openCampaigns } from "./open-campaigns.ts";
import { addPassphraseRoute } from "./passphrase-route.ts";
import type { Passphrases } from "./passphrases.ts";
import { type RotationPoint, Rotations } from "./rotations.ts";
import { addVolumeRoutes } from "./routes.ts";
import { Volumes } from "./volumes.ts";

/** What is known of volumes, their headers, and which of them nothing would open any more. */
export interface VolumeKnowledge {
  readonly knownHeaders: KnownHeaders;
  readonly volumes: Volumes;
  readonly headers: Headers;
  readonly guard: VolumeGuard;
  /** Tells people of problems. */
  readonly notifier: Notifier;
}

/** What the rooms over volumes rest on. */
export interface KnowledgeParts {
  readonly config: Pick<MasterConfig, "problem_command" | "problem_webhook" | "problem_webhook_ca">;
  readonly store: Store;
  readonly audit: AuditLog;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  readonly pillar: PillarRoom;
  readonly grainsOf: (id: string) => JsonObject;
}

/** Opens what the master knows of volumes. */
export async function openVolumeKnowledge(parts: KnowledgeParts): Promise<VolumeKnowledge> {
  const { store, audit, events, log, clock, pillar, grainsOf } = parts;
  const compile = async (id: string) => pillar.compile(id, grainsOf(id));
  const { problem_command: command, problem_webhook: webhook, problem_webhook_ca: webhookCa } = parts.config;
  const report = (message: string, error: unknown) => log.warn({ err: error }, message);
  const notifier = new Notifier({ about: "problem", command, webhook, webhookCa, clock, report });
  const volumes = await Volumes.load(store, clock, (id, volume, problem) => {
    log.warn({ id, volume, ...problem }, "a volume has a problem");
    events.emit(`volume/problem/${id}`, { id, volume, ...problem });
    const { code, text, fatal } = problem;
    const since = new Date(clock.now()).toISOString();
    notifier.tell(id, { event: "volume-problem", host: id, volume, code, text, nextBootFails: fatal, since });
  });
  const nameOf = async (id: string, path: string) => {
    const declared = readVolumes((await compile(id)).pillar);
    return declared.find((volume) => keyPathOf(volume) === path)?.name;
  };
  const knownHeaders = new KnownHeaders({
    store,
    audit,
    log,
    clock,
    escrowed: async (id, path) => {
      const volume = await nameOf(id, path);
      return volume === undefined ? undefined : headers.layout(id, volume);
    },
    isDeclared: async (id, path) => (await nameOf(id, path)) !== undefined,
  });
  const headers: Headers = new Headers({
    store,
    vault: pillar.vault,
    audit,
    events,
    log,
    clock,
    volumes,
    known: knownHeaders,
    keyPathOf: async (id, name) => declaredKeyPath((await compile(id)).pillar, name),
  });
  const guard = new VolumeGuard({
    volumes,
    versions: pillar.versions,
    compile,
    record: async (fact) => audit.append({ at: clock.now(), ...fact }),
    verifiedCopy: async (id, volume) => headers.verifiedCopy(id, volume),
  });
  return { volumes, headers, knownHeaders, guard, notifier };
}

/** What operations on volumes rest on besides. */
export interface OperationParts extends Omit<KnowledgeParts, "config">, Omit<VolumeKnowledge, "notifier"> {
  readonly config: Pick<MasterConfig, "approval_minutes" | "erase_approvals" | "heartbeat">;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly release: ReleaseRoom;
  readonly passphrases: Passphrases;
  readonly acceptedIds: () => readonly string[];
  /** Fingerprint of the master. */
  readonly master: string;
  readonly reached?: (point: ErasurePoint | RotationPoint) => void;
}

/** The master's side of operations on volumes. */
export interface VolumeOperations {
  /** What minions' requests lead to. */
  readonly requests: {
    readonly volumes: Volumes;
    readonly rotations: Rotations;
    readonly campaigns: Campaigns;
    readonly erasedSlots: ErasedSlots;
    readonly forgetting: Forgetting;
    readonly headers: HeaderRequests;
    readonly knownHeaders: KnownHeaders;
  };
  /** What has to be on record, and locked, before a job is published. */
  readonly beforeJob: (request: JobRequest) => Promise<void>;
  /** Adds the routes of all of them. */
  readonly extend: (app: FastifyInstance) => void;
  readonly campaigns: Campaigns;
  readonly erasures: Pick<Erasures, "close" | "stuck">;
}

/** Opens the master's side of rotations, campaigns, erasures and the rest; what was decided before is carried through first. */
export async function openVolumeOperations(parts: OperationParts): Promise<VolumeOperations> {
  const { store, audit, events, log, clock, pillar, grainsOf, volumes, headers, guard, release, acceptedIds } = parts;
  const { config, hosts, jobs, passphrases } = parts;
  const compile = async (id: string) => pillar.compile(id, grainsOf(id));
  const reached = parts.reached === undefined ? {} : { reached: parts.reached };
  const shared = { store, audit, versions: pillar.versions, compile, events, log, clock };
  const erasedSlots = new ErasedSlots(shared);
  const { knownHeaders } = parts;
  const forgetting = new Forgetting({ ...shared, known: knownHeaders });
  const mayCommit: VolumeGuard["assertRotationMayCommit"] = async (rotation) => guard.assertRotationMayCommit(rotation);
  const rotations = new Rotations({ ...shared, mayCommit, ...reached });
  const erasures = new Erasures({
    ...shared,
    headers,
    volumes,
    erased: erasedSlots,
    isConnected: (id) => hosts.session(id) !== undefined,
    operators: release.operators,
    master: parts.master,
    needed: config.erase_approvals,
    approvalMs: Math.round(config.approval_minutes * 60_000),
    ...reached,
  });
  await erasures.resume();
  // two heartbeats: whoever was there has noticed by then, and is back
  const settleMs = Math.round(config.heartbeat * 2000);
  const { pushes } = release;
  const campaigns = await openCampaigns({ ...shared, hosts, jobs, pushes, rotations, pillar, acceptedIds, settleMs });
  const locks = {
    volumes,
    acceptedIds,
    grainsOf,
    compile,
    lock: release.lock.bind(release),
    unlock: release.unlock.bind(release),
  };
  const forgottenThrough: ForgottenThrough = async (id, volume) => {
    try {
      const path = declaredKeyPath((await compile(id)).pillar, volume);
      return path === undefined ? 0 : await pillar.versions.forgottenThrough(id, path);
    } catch (error) {
      // a broken pillar keeps no header from being put back
      if (error instanceof ConfigError) return 0;
      throw error;
    }
  };
  const headerRequests = new HeaderRequests(headers, clock, forgottenThrough);
  return {
    campaigns,
    erasures,
    requests: { volumes, rotations, campaigns, erasedSlots, forgetting, headers: headerRequests, knownHeaders },
    beforeJob: async (request) => {
      const fact = volumeJobFact(request, clock.now());
      if (fact) await audit.append(fact);
      await lockBeforeJob(locks, request);
    },
    extend: (app) => {
      addCampaignRoutes(app, {
        list: () => campaigns.list(),
        stop: async () => campaigns.stop(),
        start: async (request) => {
          await pushes.assertMayBeUnsigned("volume.rotate");
          return campaigns.start(request);
        },
      });
      addPassphraseRoute(app, { passphrases, openOnce: (armored) => pillar.vault.openOnce(armored), acceptedIds });
      addVolumeRoutes(app, volumes, rotations, async () => readLastLeases(store));
      addHeaderRoutes(app, headers, async (id, volume) => {
        const path = declaredKeyPath((await compile(id)).pillar, volume);
        if (path !== undefined) await knownHeaders.accept(id, path, volume, ROOT);
        return path !== undefined;
      });
      addErasureRoutes(app, erasures);
    },
  };
}
