import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { AuthError, ConfigError, TransportError } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import { jidAt } from "../core/ids.ts";
import { loadIdentity } from "../core/identity-file.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { assertOwnDirectory } from "../core/own-directory.ts";
import { createLogger, type Logger } from "../core/log.ts";
import type { MasterConnection } from "../wire/endpoints.ts";
import { connectMaster } from "../wire/minion-connection.ts";
import { type Backing, type CompileLocalPillar, localBacking, masterBacking } from "./backing.ts";
import { loadMinionConfig, MINION_CONFIG_PATH, type MinionConfig } from "./config.ts";
import { execute, type FunctionCall } from "./execute.ts";
import { collectGrains, readBootId } from "./grains.ts";
import { createHost } from "./host.ts";
import { createJobContext } from "./job-context.ts";
import { openJournal } from "./journal.ts";
import { createLink, stateText } from "./link.ts";
import { masterTrust, readPinnedMaster } from "./master-pin.ts";
import { Presence } from "./presence.ts";
import type { RunProgress } from "./progress-sender.ts";
import { type LeaseReceipt, Receipts } from "./receipts.ts";
import { RunLock } from "./run-lock.ts";
import { openTickets } from "./ticket-file.ts";
import { VolumesTarget } from "./volumes-target.ts";

/** `latchkey call`: one function on this machine. */
export interface CallOptions extends FunctionCall {
  /** Default: `/etc/latchkey/minion.yaml`. */
  readonly configPath?: string | undefined;
  /** In place of the configured minion id. */
  readonly id?: string | undefined;
  /** Without a master: states from `fileRoots`, pillar from `pillarRoots`. */
  readonly local: boolean;
  readonly fileRoots: readonly string[];
  readonly pillarRoots: readonly string[];
  readonly compileLocalPillar: CompileLocalPillar;
  readonly signal: AbortSignal;
  /** Hears what is done or waited for, and before a line of the log is printed. */
  readonly watch?: { readonly doing: (what: string) => void; readonly clear: () => void };
  readonly host?: Host;
}

/** What the function returned. `retcode` 0 means success. */
export interface CallResult {
  readonly id: string;
  readonly return: Json;
  readonly retcode: number;
}

/** Salt's own places, with --local and no roots given. */
const DEFAULT_FILE_ROOTS = ["/srv/latchkey", "/srv/salt"];
const DEFAULT_PILLAR_ROOTS = ["/srv/latchkey-pillar", "/srv/pillar"];
const CONNECT_MS = 15_000;
const WAIT_MS = 60_000;

interface Opened {
  readonly backing: Backing;
  readonly close: () => Promise<void>;
}

/**
 * Runs one function as this machine's minion would: over a session of its own with the minion's key, or without a
 * master. What the function makes of it is the result; throws when it cannot even begin (ConfigError, TransportError
 * when the master cannot be reached within 15 s, AuthError when it has not accepted the key; the signal's reason when it aborts, with what the function had begun ended).
 */
export async function runCall(options: CallOptions): Promise<CallResult> {
  const { signal, local, host = createHost() } = options;
  const config = await loadMinionConfig(host, options.configPath ?? MINION_CONFIG_PATH, options.id);
  const { doing, clear } = options.watch ?? { doing: () => {}, clear: () => {} };
  const log = createLogger("call", config.logLevel === "info" ? "warn" : config.logLevel, {
    write: (line) => {
      clear();
      process.stderr.write(line);
    },
  });
  assertOwnDirectory("state_dir", config.stateDir);
  assertOwnDirectory("cache_dir", config.cacheDir);
  assertOwnDirectory("run_dir", config.runDir);
  const grains = await collectGrains(host, config.id, config.grains);
  const opened = local
    ? openLocal(options, config, grains)
    : await openMaster(host, config, grains, log, { signal, doing });
  try {
    const machine = {
      config,
      host,
      grains,
      backing: opened.backing,
      journal: openJournal(host, join(config.stateDir, "journal")),
      lock: new RunLock(config.runDir, systemClock),
      target: new VolumesTarget(config.runDir, host, log),
      clock: systemClock,
      random: Math.random,
      log,
    };
    const jid = jidAt(Date.now(), Math.floor(Math.random() * 1000));
    const progress = ({ done, total, current }: RunProgress) =>
      doing(total === 0 ? current : `${current} (${done}/${total})`);
    const job = createJobContext(machine, { jid, fun: options.fun, signal, waitMs: WAIT_MS, progress });
    doing(options.fun);
    const { data, retcode } = await execute(options, job.context);
    if (signal.aborted) await job.settle();
    signal.throwIfAborted();
    await job.report(options, { data, retcode });
    await job.settle();
    return { id: config.id, return: data, retcode };
  } finally {
    await opened.close();
  }
}

function openLocal(options: CallOptions, { id }: MinionConfig, grains: JsonObject): Opened {
  const fileRoots = options.fileRoots.length > 0 ? options.fileRoots : DEFAULT_FILE_ROOTS;
  const pillarRoots = options.pillarRoots.length > 0 ? options.pillarRoots : DEFAULT_PILLAR_ROOTS;
  const pillar = () => options.compileLocalPillar(pillarRoots, { id, grains });
  return { backing: localBacking({ fileRoots, pillar }), close: async () => {} };
}

async function openMaster(
  host: Host,
  config: MinionConfig,
  grains: JsonObject,
  log: Logger,
  { signal, doing }: { readonly signal: AbortSignal; readonly doing: (what: string) => void },
): Promise<Opened> {
  const { stateDir } = config;
  const keyPath = join(stateDir, "minion.key");
  const identity = await loadIdentity(keyPath);
  if (identity === undefined) {
    throw new ConfigError("no-identity", `cannot call through a master: this machine has no key in "${keyPath}" yet`, {
      hint: "start the minion once (latchkey minion), or use --local",
    });
  }
  const [bootId, pinned, tickets] = await Promise.all([
    readBootId(host),
    readPinnedMaster(host, stateDir),
    openTickets(join(stateDir, "tickets"), (err) => log.debug({ err }, "cannot keep a ticket of the master")),
  ]);
  const clock = systemClock;
  const random = Math.random;
  const closing = new AbortController();
  const ends = AbortSignal.any([signal, closing.signal]);
  const connection: MasterConnection = connectMaster({
    masters: config.masters,
    minionId: config.id,
    identity,
    trust: masterTrust(host, config, pinned, log),
    tickets,
    jobs: undefined,
    handlers: {
      connected: () => presence.greet(),
      stateChanged: (state) => {
        doing(stateText(state));
        log.debug({ ...state }, stateText(state));
      },
      job: () => {},
    },
    clock,
    random,
    report: (message, error) => log.warn({ err: error }, message),
  });
  const presence = new Presence({
    connection: () => connection,
    role: "call",
    identity,
    bootId,
    grains: async () => grains,
    lastSeq: () => 0,
    running: () => [],
    clock,
    random,
    log,
    signal: ends,
  });
  const link = createLink(connection, clock, random);
  const close = async (): Promise<void> => {
    closing.abort();
    await connection.request("bye", {}, { timeoutMs: 500 }).catch(() => undefined);
    await connection.close();
  };
  // the agent of this machine delivers what is left when the call is over
  const directory = join(stateDir, "receipts");
  const receipts = new Receipts({ directory, link, identity, clock, log, signal: ends });
  const onLostReceipt = async (receipt: LeaseReceipt, error: unknown) => receipts.keep(receipt, error);
  const { cacheDir } = config;
  const backing = masterBacking({ host, link, identity, bootId, cacheDir, clock, random, log, onLostReceipt });
  try {
    await readyInTime(connection, config, signal);
    return { backing, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

async function readyInTime(connection: MasterConnection, { id }: MinionConfig, signal: AbortSignal): Promise<void> {
  try {
    await connection.ready(AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]));
  } catch (thrown) {
    signal.throwIfAborted();
    const { state } = connection;
    const message = `cannot call through the master: ${stateText(state)}`;
    if (state.kind === "waiting-for-acceptance") {
      throw new AuthError("not-accepted", message, {
        cause: thrown,
        hint: `on the master run: latchkey keys accept ${id}`,
      });
    }
    if (state.kind === "wrong-master") throw new AuthError("wrong-master", message, { cause: thrown });
    throw new TransportError("no-master", message, { cause: thrown, hint: "with --local no master is needed" });
  }
}
