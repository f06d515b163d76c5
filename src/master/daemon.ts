import { join } from "node:path";
import { loadSodium } from "../core/crypto/sodium.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { errorMessage, HostError } from "../core/errors.ts";
import { loadOrCreateIdentity } from "../core/identity-file.ts";
import type { Identity } from "../core/identity.ts";
import type { JsonObject } from "../core/json.ts";
import { createLogger, type Logger } from "../core/log.ts";
import { notifyService } from "../core/sd-notify.ts";
import { type FileRoots, openRoots } from "../sls/file-roots.ts";
import type { MasterEndpoint, MasterEndpointOptions } from "../wire/endpoints.ts";
import { signJob } from "../wire/job-envelope.ts";
import { listenMaster } from "../wire/master-endpoint.ts";
import type { AskPassphrase } from "./age-identity-file.ts";
import { backUp } from "./backup.ts";
import { type ControlApi, serveControlApi } from "./api/control-api.ts";
import { ROOT } from "./audit/actor.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { AuditRoom } from "./audit/audit-room.ts";
import { askWitnesses } from "./audit/ask-witnesses.ts";
import { type MasterLog, openLog } from "./open-log.ts";
import { Witnesses } from "./audit/witnesses.ts";
import { openAudit } from "./audit/open-audit.ts";
import { compileForMinion } from "./compile.ts";
import { loadMasterConfig, type MasterConfig, type SocketAccess } from "./config.ts";
import { Contested } from "./contested.ts";
import { Enrolment } from "./enrolment.ts";
import { EventBus } from "./events.ts";
import { FileServer } from "./file-server.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Hosts } from "./hosts.ts";
import { Jobs } from "./jobs/jobs.ts";
import { jobReport } from "./jobs/report.ts";
import { Returns } from "./jobs/returns.ts";
import { listLeases } from "./leases/list.ts";
import type { Authorize } from "./leases/decision.ts";
import { Leases } from "./leases/leases.ts";
import type { LeasePoint } from "./leases/leases-options.ts";
import { pacedHandlers } from "./paced-handlers.ts";
import { openPillarRoom, type PillarRoom, type PillarRoomOptions } from "./pillar-room.ts";
import { openRelease } from "./release/open-release.ts";
import { minionHandlers } from "./requests.ts";
import { sharedTrees } from "./shared-trees.ts";
import { secretUses } from "./secrets/uses.ts";
import { Passphrases } from "./volumes/passphrases.ts";
import type { RotationPoint } from "./volumes/rotations.ts";
import type { ErasurePoint } from "./volumes/erasures.ts";
import { openVolumeKnowledge, openVolumeOperations } from "./volumes/open-volumes.ts";
import { masterStatus } from "./status.ts";
import { openState } from "./store/open-state.ts";
import type { Store } from "./store/store.ts";

/** What a test may replace. */
export interface MasterOverrides {
  readonly config?: MasterConfig;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly openStore?: (path: string) => Store;
  readonly listen?: (options: MasterEndpointOptions) => Promise<MasterEndpoint>;
  readonly openPillar?: (options: PillarRoomOptions) => Promise<PillarRoom>;
  readonly authorize?: Authorize;
  readonly reached?: (point: ErasurePoint | LeasePoint | RotationPoint) => void;
}

/** How to start a master. */
export interface MasterOptions {
  /** Configuration file; undefined for the usual one. */
  readonly configPath?: string | undefined;
  /** Gives the passphrase of an age identity that has one. */
  readonly passphrase?: AskPassphrase;
  /** In place of the configured `socket_access`. */
  readonly socketAccess?: SocketAccess | undefined;
  /** Aborted: the master stops in good order. */
  readonly signal: AbortSignal;
  readonly overrides?: MasterOverrides;
}

/** A master that runs. */
export interface RunningMaster {
  readonly fingerprint: string;
  readonly ports: { readonly return: number };
  readonly socket: string;
  /** Resolves when it has stopped. */
  readonly stopped: Promise<void>;
}

const HOUR_MS = 3_600_000;
const UNUSED_PUBLISH_PORT =
  "publish_port is of no use any more: jobs go out on the sessions at ret_port; take it out of the configuration";
/** Heartbeats that an agent may miss before its session is closed. */
const MISSED_HEARTBEATS = 3;

/**
 * Starts a master and resolves when it serves. Throws ConfigError for its configuration or identity, HostError when the
 * store cannot be written or another master uses it, TransportError when a port is taken; then nothing is left running.
 */
export async function startMaster({
  configPath,
  passphrase,
  socketAccess,
  signal,
  overrides = {},
}: MasterOptions): Promise<RunningMaster> {
  const configured = overrides.config ?? (await loadMasterConfig(configPath));
  const config = socketAccess === undefined ? configured : { ...configured, socket_access: socketAccess };
  const clock = overrides.clock ?? systemClock;
  const { log, ...logging } = openLog(overrides.log ?? createLogger("latchkey-master", config.log_level), clock);
  const curves = (await loadSodium()) ? "libsodium" : "OpenSSL";
  const closers: (() => Promise<void> | void)[] = [logging.close];
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    const store = openState(config.state_dir, overrides.openStore);
    closers.push(async () => store.close());
    const identity = await loadOrCreateIdentity(join(config.state_dir, "identity"));
    const events = new EventBus(clock);
    const { audit, stopAudit } = await openAudit({ store, clock, identity, events, log });
    closers.push(stopAudit);
    const roots = openRoots(config.file_roots.base);
    const pillar = await (overrides.openPillar ?? openPillarRoom)({
      config,
      store,
      clock,
      audit,
      ...(passphrase === undefined ? {} : { passphrase }),
      uses: async (id, grains, compiled) => secretUses(roots, id, grains, compiled),
      warn: (line) => log.warn(line),
      // a host that was never here has no grains to render with: the editor then only warns
      validate: async (id, grains, { pillar: compiled }) => compileForMinion(roots, { id, grains, pillar: compiled }),
    });
    closers.push(() => pillar[Symbol.dispose]());
    const shared = { config, log, clock };
    const running = await serve({
      ...shared,
      store,
      identity,
      events,
      audit,
      roots,
      pillar,
      overrides,
      closers,
      hostsAre: logging.hostsAre,
    });
    const stopped = (async () => {
      await aborted(signal);
      log.info("stopping");
      await notifyService({ stopping: true });
      await close();
    })();
    const { fingerprint } = identity;
    for (const text of sharedTrees(config)) log.warn(text);
    if (config.publish_port !== undefined) log.warn(UNUSED_PUBLISH_PORT);
    log.info({ fingerprint, ...running.ports, socket: config.socket, curves }, "ready");
    await notifyService({ ready: true, status: `serving on port ${config.ret_port}` });
    return { ...running, fingerprint, socket: config.socket, stopped };
  } catch (error) {
    log.error({ err: errorMessage(error) }, "cannot start");
    await close();
    throw error;
  }
}

interface Parts {
  readonly config: MasterConfig;
  readonly log: Logger;
  readonly clock: Clock;
  readonly store: Store;
  readonly identity: Identity;
  readonly events: EventBus;
  readonly audit: AuditLog;
  readonly roots: FileRoots;
  readonly pillar: PillarRoom;
  readonly overrides: MasterOverrides;
  readonly closers: (() => Promise<void> | void)[];
  readonly hostsAre: MasterLog["hostsAre"];
}

/** Wires the rooms and opens the doors: the sockets first, the control API last. */
async function serve(parts: Parts): Promise<Pick<RunningMaster, "ports">> {
  const { config, log, clock, store, identity, events, audit, roots, pillar, overrides, closers, hostsAre } = parts;
  let endpointOrNone: MasterEndpoint | undefined;
  const endpoint = () => {
    if (endpointOrNone === undefined) throw new HostError("starting", "cannot serve yet: the master is starting");
    return endpointOrNone;
  };
  const hosts = await Hosts.load(store, clock);
  const grainsOf = (id: string) => hosts.grains(id) ?? {};
  const known = await openVolumeKnowledge({ config, store, audit, events, log, clock, pillar, grainsOf });
  const { guard, volumes } = known;
  closers.push(() => known.notifier.close());
  const enrolment = await Enrolment.load({
    store,
    audit,
    events,
    log,
    clock,
    autoAccept: config.auto_accept,
    maxPending: config.max_pending_keys,
    cut: async (ids) => {
      for (const id of ids) endpoint().disconnect(id);
    },
    mayDelete: async (ids, force) => guard.settle(guard.orphaned(ids), { what: "keys delete", force }),
    forget: async (id) => hosts.forget(id),
  });
  hostsAre((id) => enrolment.holder(id) !== undefined);
  const keepMs = config.keep_jobs_hours * HOUR_MS;
  const heartbeatMs = Math.round(config.heartbeat * 1000);
  const returns = new Returns({ store, hosts, events, log, keepMs, clock });
  const acceptedIds = () => enrolment.acceptedIds();
  const jobs = await Jobs.load({
    store,
    journal: async (fact, changes) => audit.append(fact, changes),
    hosts,
    returns,
    events,
    log,
    identity,
    sign: (job) => signJob(job, identity.sign),
    acceptedIds,
    keepMs,
    heartbeatMs,
    clock,
  });
  const addressOf = (id: string) =>
    hosts.session(id)?.address ?? enrolment.list().find((key) => key.id === id)?.address ?? "";
  const pillarOf = async (id: string) => pillar.compile(id, grainsOf(id));
  const { release, extend } = await openRelease({
    config,
    store,
    audit,
    events,
    log,
    clock,
    master: identity.fingerprint,
    endpoint,
    acceptedIds,
    grainsOf,
    secretPaths: async (id) => (await pillarOf(id)).secrets,
    makesKey: async (asked) => {
      const node = (await pillarOf(asked.id)).secrets.get(asked.path);
      return node !== undefined && pillar.versions.makesKey(asked, node);
    },
    mayReboot: async (ids, force, by) => {
      const risks = await Promise.all(ids.map(async (id) => guard.unkept(id)));
      await guard.settle(risks.flat(), { what: "reboot", force, by: { ...ROOT, actor: by } });
    },
    lastSeen: (id) => ({ address: addressOf(id), bootId: hosts.bootId(id) }),
  });
  closers.push(() => release.close());
  const compile = async (id: string, grains: JsonObject) => (await pillar.compile(id, grains)).pillar;
  const passphrases = new Passphrases(clock);
  closers.push(() => passphrases[Symbol.dispose]());
  const leases = new Leases({
    passphrases,
    store,
    audit,
    events,
    log,
    identity,
    clock,
    compilePillar: pillarOf,
    resolveSecret: async (...request) => pillar.resolveSecret(...request),
    authorize:
      overrides.authorize ??
      (async (facts, node) =>
        release.gate.authorize({ ...facts, makesKey: await pillar.versions.makesKey(facts, node) })),
    stopped: (facts) => release.gate.stopped(facts),
    knownHeaders: known.knownHeaders,
    ...(overrides.reached === undefined ? {} : { reached: overrides.reached }),
    keepMs: config.keep_leases_days * 24 * HOUR_MS,
  });
  const operations = await openVolumeOperations({
    ...known,
    config,
    store,
    audit,
    events,
    log,
    clock,
    pillar,
    grainsOf,
    hosts,
    jobs,
    release,
    passphrases,
    acceptedIds,
    master: identity.fingerprint,
    ...(overrides.reached === undefined ? {} : { reached: overrides.reached }),
  });
  closers.push(
    () => operations.campaigns.close(),
    () => operations.erasures.close(),
  );
  const rooms = {
    enrolment,
    hosts,
    jobs,
    leases,
    heartbeats: new Heartbeats({ audit, clock, log }),
    contested: new Contested({ events, log, clock }),
    liveness: release.liveness,
    askers: release.askers,
    audit,
    witnesses: new Witnesses({ audit, store, events, log, clock }),
    files: new FileServer(roots),
    ...operations.requests,
    events,
    compilePillar: compile,
    log,
    heartbeatMs,
    now: () => clock.now(),
  };
  const listen = overrides.listen ?? listenMaster;
  const wire = await listen({
    identity,
    interface: config.interface,
    returnPort: config.ret_port,
    handlers: pacedHandlers(minionHandlers(rooms), clock),
    clock,
    report: (message, error) => log.warn({ err: errorMessage(error) }, message),
    limited: ({ limit, count, address }) => {
      log.warn({ limit, count, address }, "connections are cut off or turned away");
      events.emit(`limit/${limit}`, { count, address });
    },
  });
  endpointOrNone = wire;
  // sessions that end because the master stops are no host's silence
  closers.push(
    async () => wire.close(),
    () => release.liveness.close(),
  );
  const reaper = setInterval(() => {
    for (const session of hosts.silentFor(heartbeatMs * MISSED_HEARTBEATS)) session.close();
  }, heartbeatMs);
  closers.push(() => clearInterval(reaper));
  const { fingerprint } = identity;
  const stuck = () => operations.erasures.stuck();
  const statusParts = { fingerprint, startedAt: clock.now(), wire, jobs, audit, volumes, acceptedIds, stuck };
  const api: ControlApi = await serveControlApi(
    {
      enrolment,
      hosts,
      jobs,
      events,
      log,
      beforeJob: operations.beforeJob,
      provePush: async (request) => release.pushes.prove(request),
      jobReport: async (jid) => jobReport(store, jid, enrolment.acceptedIds()),
      leaseList: async (limit) => listLeases(store, limit),
      audit: new AuditRoom({ audit, store, identity, askWitnesses: async () => askWitnesses(jobs, hosts) }),
      status: () => masterStatus(statusParts),
      backUp: async (request) =>
        backUp(
          {
            store,
            audit,
            clock,
            stateDir: config.state_dir,
            fingerprint: identity.fingerprint,
            recipients: pillar.versions.recipients,
            keepToo: [...config.pillar_roots.base, ...config.file_roots.base, config.release_policy],
          },
          request,
        ),
      compilePillar: compile,
      extend: (app) => {
        pillar.extend(app, {
          grainsOf,
          ids: acceptedIds,
          guard: async (id, after, act) => guard.settle(await guard.lostWith(id, after), act),
          headers: known.headers,
        });
        extend(app);
        operations.extend(app);
      },
    },
    config,
  );
  closers.push(
    async () => api.close(),
    () => jobs.close(),
  );
  operations.campaigns.begin();
  return { ports: { return: wire.returnPort } };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}
