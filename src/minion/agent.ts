import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { systemClock } from "../core/clock.ts";
import type { Host } from "../core/host.ts";
import { fingerprint } from "../core/identity.ts";
import { loadOrCreateIdentity } from "../core/identity-file.ts";
import type { JsonObject } from "../core/json.ts";
import { createLogger, type Logger } from "../core/log.ts";
import { takeOwnDirectory } from "../core/own-directory.ts";
import { notifyService } from "../core/sd-notify.ts";
import type { ConnectionState } from "../wire/endpoints.ts";
import { connectMaster } from "../wire/minion-connection.ts";
import { masterBacking } from "./backing.ts";
import { loadMinionConfig, MINION_CONFIG_PATH, type MinionConfig } from "./config.ts";
import { Courier } from "./courier.ts";
import { collectGrains, readBootId } from "./grains.ts";
import { createHost, prepareCommands } from "./host.ts";
import { hygieneWarnings, readHygiene } from "./hygiene.ts";
import { Jobs } from "./jobs.ts";
import { openJournal } from "./journal.ts";
import { keyFileDirectories, wipeLeftKeyFiles } from "./key-file.ts";
import { createLink, stateText } from "./link.ts";
import type { Machine } from "./machine.ts";
import { masterTrust, readPinnedMaster } from "./master-pin.ts";
import { openEpochFile } from "./epoch-file.ts";
import { openPositionFile } from "./position-file.ts";
import { Presence } from "./presence.ts";
import { Receipts } from "./receipts.ts";
import { RunLock } from "./run-lock.ts";
import { openSpool } from "./spool.ts";
import { runStartup } from "./startup.ts";
import { loadEngine } from "./state-engine.ts";
import { TimelineRecorder } from "./timeline.ts";
import { TakeUp } from "./volume/take-up.ts";
import { runScheduledChecks } from "./volume/schedule.ts";
import { openTickets } from "./ticket-file.ts";
import { VolumesTarget } from "./volumes-target.ts";
import { Witness } from "./witness.ts";

/** How a minion is started. */
export interface MinionOptions {
  /** Default: `/etc/latchkey/minion.yaml`. */
  readonly configPath?: string | undefined;
  /** Ends the minion. */
  readonly signal: AbortSignal;
  readonly host?: Host;
  /** Called at each step of what is not atomic: where tests end the process. */
  readonly reached?: Machine["reached"];
}

/** How long running jobs may go on when the minion is told to end. */
const GRACE_MS = 5000;

/**
 * Runs this machine's minion until the signal aborts: connects (for ever, with backoff), runs the startup states once a
 * boot, takes jobs. Resolves after an orderly end; rejects with ConfigError or HostError when it cannot start.
 */
export async function startMinion({ configPath, signal, host = createHost(), reached }: MinionOptions): Promise<void> {
  // the unit file says the same, and that there are no core dumps
  if (isMainThread) process.umask(0o077);
  const timeline = new TimelineRecorder();
  timeline.mark("minion process started", performance.timeOrigin);
  const config = await loadMinionConfig(host, configPath ?? MINION_CONFIG_PATH);
  const log = createLogger("minion", config.logLevel);
  const { stateDir } = config;
  takeMinionDirectories(config);
  const [identity, bootId, pinned, position, epochs, spool, tickets, firstGrains] = await Promise.all([
    loadOrCreateIdentity(join(stateDir, "minion.key")),
    readBootId(host),
    readPinnedMaster(host, stateDir),
    openPositionFile(join(stateDir, "job-position")),
    openEpochFile(host, join(stateDir, "job-epochs.json"), log),
    openSpool(join(stateDir, "returns")),
    openTickets(join(stateDir, "tickets"), (err) => log.warn({ err }, "cannot keep a ticket of the master")),
    collectGrains(host, config.id, config.grains),
  ]);
  const clock = systemClock;
  const random = Math.random;
  log.info({ id: config.id, fingerprint: identity.fingerprint }, `minion "${config.id}" starts`);
  for (const name of config.unused) log.warn(`"${name}" means nothing any more: take it out of the configuration`);

  const stopJobs = new AbortController();
  let grains: JsonObject = firstGrains;
  let greeted = false;

  const connection = connectMaster({
    masters: config.masters,
    minionId: config.id,
    identity,
    trust: masterTrust(host, config, pinned, log),
    tickets,
    jobs: {
      lastSeq: (master) => position.lastSeq(fingerprint(master)),
      saveSeq: async (master, seq) => position.save(fingerprint(master), seq),
      epoch: (master) => epochs.of(fingerprint(master)),
      saveEpoch: async (master, signed) => epochs.save(fingerprint(master), signed),
    },
    handlers: {
      connected: async () => {
        await presence.greet();
        if (!greeted) timeline.mark("connected to the master", clock.now());
        greeted = true;
        courier.deliver();
        takeUp.connected();
        receipts.deliver();
      },
      stateChanged: (state) => tellState(log, config.id, state),
      job: (job) => jobs.take(job),
    },
    clock,
    random,
    report: (message, error) => log.warn({ err: error }, message),
  });
  const link = createLink(connection, clock, random);
  const directory = join(stateDir, "receipts");
  const receipts = new Receipts({ directory, link, identity, clock, log, signal: stopJobs.signal });
  const machine: Machine = {
    config,
    host,
    get grains() {
      return grains;
    },
    backing: masterBacking({
      host,
      link,
      identity,
      bootId,
      cacheDir: config.cacheDir,
      clock,
      random,
      log,
      onLostReceipt: async (receipt, error) => receipts.keep(receipt, error),
    }),
    journal: openJournal(host, join(stateDir, "journal")),
    lock: new RunLock(config.runDir, clock),
    target: new VolumesTarget(config.runDir, host, log),
    clock,
    random,
    log,
    ...(reached === undefined ? {} : { reached }),
  };
  const courier = new Courier(spool, link, clock, log, stopJobs.signal);
  const jobs = new Jobs(machine, link, spool, courier, stopJobs.signal);
  const takeUp = new TakeUp({ machine, jobs, signal: stopJobs.signal });
  const presence = new Presence({
    connection: () => connection,
    role: "agent",
    identity,
    bootId,
    grains: async () => {
      if (greeted) grains = await collectGrains(host, config.id, config.grains);
      return grains;
    },
    lastSeq: () => position.lastSeq(fingerprint(connection.master)),
    epoch: () => epochs.of(fingerprint(connection.master)),
    running: () => jobs.running(),
    witness: new Witness({ host, stateDir, master: () => connection.master, log }),
    clock,
    random,
    log,
    signal,
  });
  for (const warning of hygieneWarnings(readHygiene())) log.warn(warning);
  const left = wipeLeftKeyFiles(keyFileDirectories(config.runDir));
  if (left > 0) log.warn({ left }, "wiped key files that a killed minion had left");
  await jobs.recover();
  void notifyService({ ready: true, status: stateText(connection.state) });
  // loaded while the handshake is on its way
  if (config.startupStates !== "") void Promise.all([loadEngine(), prepareCommands()]);
  const ended = () => takeUp.begin();
  const startup = runStartup({ machine, jobs, connection, bootId, timeline, random, signal, ended }).catch(
    (error: unknown) => {
      if (!signal.aborted) log.error({ err: error }, "the startup run cannot go on");
    },
  );

  const checks = runScheduledChecks(machine, signal);

  await aborted(signal);
  log.info("minion ends");
  void notifyService({ stopping: true });
  await jobs.idle(clock, AbortSignal.timeout(GRACE_MS));
  stopJobs.abort();
  await Promise.all([startup, takeUp.idle(), checks, jobs.idle(clock, AbortSignal.timeout(GRACE_MS))]);
  await connection.request("bye", {}, { timeoutMs: 500 }).catch(() => undefined);
  await connection.close();
  await position.close();
}

/** Identity, spool, receipts, journal and lock are files that are used by their path. */
function takeMinionDirectories({ stateDir, cacheDir, runDir }: MinionConfig): void {
  takeOwnDirectory("state_dir", stateDir, 0o700);
  takeOwnDirectory("cache_dir", cacheDir, 0o700);
  takeOwnDirectory("run_dir", runDir, 0o755);
}

function tellState(log: Logger, id: string, state: ConnectionState): void {
  const text = stateText(state);
  if (state.kind === "waiting-for-acceptance") {
    log.warn({ ...state }, `${text}; on the master run: latchkey keys accept ${id}`);
  } else if (state.kind === "wrong-master") {
    log.error({ ...state }, `${text}; nothing is told to it`);
  } else if (state.kind === "connecting" && state.attempt > 1) log.debug({ ...state }, text);
  else log.info({ ...state }, text);
  if (state.kind === "waiting-for-acceptance" || state.kind === "wrong-master") void notifyService({ status: text });
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}
