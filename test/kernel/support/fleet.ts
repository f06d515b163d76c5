import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import type { Host } from "../../../src/core/host.ts";
import { loadOrCreateIdentity } from "../../../src/core/identity-file.ts";
import { jidAt } from "../../../src/core/ids.ts";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import { createLogger } from "../../../src/core/log.ts";
import { VolumesTarget } from "../../../src/minion/volumes-target.ts";
import type { VolumeStep } from "../../../src/core/volume-steps.ts";
import type { MasterOverrides } from "../../../src/master/daemon.ts";
import { masterBacking } from "../../../src/minion/backing.ts";
import type { MinionConfig } from "../../../src/minion/config.ts";
import { execute } from "../../../src/minion/execute.ts";
import type { FunctionResult } from "../../../src/minion/functions/function.ts";
import { createJobContext } from "../../../src/minion/job-context.ts";
import { openJournal } from "../../../src/minion/journal.ts";
import { createLink } from "../../../src/minion/link.ts";
import type { Machine as MinionMachine } from "../../../src/minion/machine.ts";
import { RunLock } from "../../../src/minion/run-lock.ts";
import type { LeasePurpose } from "../../../src/core/lease-purpose.ts";
import type { LeasedKey, LeaseSubject } from "../../../src/states/state.ts";
import { VERSION } from "../../../src/core/version.ts";
import { connectMaster } from "../../../src/wire/minion-connection.ts";
import { type Rig, rig } from "../../contract/master/rig.ts";

/** The one minion of these tests. */
export const ID = "web1";

/** A process that was killed: nothing of it happens afterwards. */
export class Killed extends Error {}

/** A whole master and one minion's machinery, in this process, over real sockets. Either can be started anew on its directory. */
export class Fleet {
  readonly directory: string;
  readonly host: Host;
  readonly logged: string[] = [];
  overrides: MasterOverrides = {};
  /** How long a job waits for a lease that is held. */
  waitMs = 10_000;
  /** Called at each step of the minion's. */
  reached: (step: VolumeStep) => void = () => {};
  #rig: Rig | undefined;

  constructor(directory: string, host: Host) {
    this.directory = directory;
    this.host = host;
    for (const name of ["states", "pillar/hosts", "minion", "run"])
      mkdirSync(join(directory, name), { recursive: true });
  }

  /** Writes the host's own pillar file. */
  pillar(text: string): void {
    writeFileSync(join(this.directory, "pillar/hosts", `${ID}.yaml`), text);
  }

  /** The running master; started when none runs. */
  async master(): Promise<Rig> {
    this.#rig ??= await rig(this.directory, this.overrides, { auto_accept: true });
    return this.#rig;
  }

  async stopMaster(): Promise<void> {
    await this.#rig?.stop();
    this.#rig = undefined;
  }

  /** Hands over a job's context on a session of its own, as `latchkey call` has it. */
  async withJob<T>(fun: string, use: (job: ReturnType<typeof createJobContext>) => Promise<T>): Promise<T> {
    const { master } = await this.master();
    const { host, directory } = this;
    const ending = new AbortController();
    const stateDir = join(directory, "minion");
    const identity = await loadOrCreateIdentity(join(stateDir, "minion.key"));
    const connection = connectMaster({
      masters: [{ host: "127.0.0.1", returnPort: master.ports.return }],
      minionId: ID,
      identity,
      trust: { fingerprints: [master.fingerprint], known: [], firstUse: false, remember: async () => {} },
      tickets: { of: () => undefined, keep: () => {} },
      jobs: undefined,
      handlers: {
        connected: async () => {
          await connection.request("hello", { version: VERSION, bootId: "boot", role: "call", grains: {}, lastSeq: 0 });
        },
        stateChanged: () => {},
        job: () => {},
      },
      clock: systemClock,
      random: Math.random,
      report: () => {},
    });
    const link = createLink(connection, systemClock, Math.random);
    const cacheDir = join(stateDir, "cache");
    const config: MinionConfig = {
      id: ID,
      masters: [{ host: "127.0.0.1", returnPort: 1 }],
      fingerprints: [],
      trustOnFirstUse: false,
      startupStates: "",
      slsList: [],
      topFile: "",
      startupRetryMinMs: 1000,
      volumeCheckIntervalMs: 0,
      startupRetryMaxMs: 1000,
      stateDir,
      cacheDir,
      runDir: join(directory, "run"),
      logLevel: "info",
      grains: {},
      unused: [],
    };
    const machine: MinionMachine = {
      config,
      host,
      grains: {},
      backing: masterBacking({
        host,
        link,
        identity,
        bootId: "boot",
        cacheDir,
        clock: systemClock,
        random: Math.random,
        log: createLogger("minion", "silent"),
        onLostReceipt: () => {},
      }),
      journal: openJournal(host, join(stateDir, "journal")),
      lock: new RunLock(join(directory, "run"), systemClock),
      target: new VolumesTarget(join(directory, "run"), host, createLogger("minion", "silent")),
      clock: systemClock,
      random: Math.random,
      log: createLogger("minion", process.env["LATCHKEY_TEST_LOG"] ? "info" : "silent"),
      reached: (step) => this.reached(step),
    };
    try {
      await connection.ready(AbortSignal.timeout(20_000));
      const jid = jidAt(Date.now(), Math.floor(Math.random() * 1000));
      const { signal } = ending;
      return await use(createJobContext(machine, { jid, fun, signal, waitMs: this.waitMs, progress: () => {} }));
    } finally {
      ending.abort();
      await connection.close();
    }
  }

  /** Runs a function as a pushed job would. */
  async run(fun: string, kwargs: JsonObject = {}, args: readonly Json[] = []): Promise<FunctionResult> {
    return this.withJob(fun, async (job) => {
      const result = await execute({ fun, args, kwargs }, job.context);
      await job.settle();
      return result;
    });
  }

  /** Leases a key as a state would. */
  async lease<T>(
    ref: string,
    purpose: LeasePurpose,
    subject: LeaseSubject,
    use: (key: LeasedKey) => Promise<T>,
  ): Promise<T> {
    return this.withJob("test", async ({ context }) => context.minion.lease(ref, purpose, subject, use));
  }
}
