import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { waitUntil } from "../../../../lab/wait-until.ts";
import { controlClient } from "../../../../src/cli/control-client.ts";
import type { JobEvent, MasterStatus } from "../../../../src/core/control-api.ts";
import type { Json, JsonObject } from "../../../../src/core/json.ts";
import type { SecretHistory, SecretShown } from "../../../../src/core/secrets-api.ts";
import { hasStruck, lay, letGo, lift, type Victim } from "./doom.ts";
import { PROCESS_FILES } from "./process-files.ts";

/** The one minion's id. */
export const HOST = "store1";

const START_MS = 60_000;
const JOB_MS = 60_000;
const LOOK_EVERY_MS = 20;
const NOBODY = "the minion is not there";

/** Where the fleet keeps its files: the master's may lie on another disk than the minion's. */
export interface FleetOptions {
  /** Where `buildProcesses` put the two programs. */
  readonly processes: string;
  readonly masterDirectory: string;
  readonly minionDirectory: string;
  /** For sockets and what need not outlive the kernel. */
  readonly runDirectory: string;
  /** For V8's compiled code; in the run directory when not given. */
  readonly compiledDirectory?: string;
  readonly returnPort: number;
}

/** What a job returned; `data` is what the function did. */
export type JobEnd =
  | { readonly kind: "returned"; readonly success: boolean; readonly data: Json }
  | { readonly kind: "lost"; readonly why: string };

const isEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** A real master and a real minion as processes of their own, on loopback, that can be killed at a named step. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #client;
  #master: ChildProcess | undefined;
  #minion: ChildProcess | undefined;
  /** Where in the minion's log its present process begins, and where its present session has to be. */
  #minionSince = 0;
  #sessionSince = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { masterDirectory: at, minionDirectory, runDirectory, returnPort } = options;
    for (const name of ["states", "pillar/hosts"]) mkdirSync(join(at, name), { recursive: true });
    mkdirSync(minionDirectory, { recursive: true });
    mkdirSync(runDirectory, { recursive: true });
    const master = {
      interface: "127.0.0.1",
      ret_port: returnPort,
      auto_accept: true,
      state_dir: join(at, "state"),
      socket: this.#socket,
      allow_secret_show: true,
      file_roots: { base: [join(at, "states")] },
      pillar_roots: { base: [join(at, "pillar")] },
      release_policy: join(at, "release.yaml"),
      heartbeat: 1,
      log_level: "info",
    };
    writeFileSync(join(at, "master.yaml"), JSON.stringify(master));
    const minion = {
      id: HOST,
      master: "127.0.0.1",
      master_port: returnPort,
      trust_on_first_use: true,
      state_dir: join(minionDirectory, "state"),
      run_dir: join(runDirectory, "minion"),
      log_level: "info",
    };
    writeFileSync(join(minionDirectory, "minion.yaml"), JSON.stringify(minion));
    this.#client = controlClient(this.#socket, new AbortController().signal);
  }

  get #socket(): string {
    return join(this.#options.runDirectory, "master.sock");
  }

  get #doom(): string {
    return join(this.#options.runDirectory, "doom");
  }

  get #steps(): string {
    return join(this.#options.minionDirectory, "steps");
  }

  /** Declares the host's pillar; keys are written `!generate`. */
  setPillar(yaml: string): void {
    writeFileSync(join(this.#options.masterDirectory, "pillar/hosts", `${HOST}.yaml`), yaml);
  }

  /** Puts an SLS file into the master's tree. */
  setStates(name: string, yaml: string): void {
    writeFileSync(join(this.#options.masterDirectory, "states", `${name}.sls`), yaml);
  }

  /** Starts the master, and waits until it serves. */
  async startMaster(): Promise<void> {
    const { masterDirectory } = this.#options;
    this.#sessionSince = this.logOf("minion").length;
    const child = this.#spawn("master", [join(masterDirectory, "master.yaml"), this.#doom], masterDirectory);
    this.#master = child;
    await waitUntil(
      "the master serves",
      async () => isEnded(child) || (await this.#status()) !== undefined,
      START_MS,
      LOOK_EVERY_MS,
    );
    if (isEnded(child)) throw new Error(`the master ended: ${this.logOf("master").slice(-2000)}`);
  }

  /** Starts the minion; `connected` waits until it has its session. */
  startMinion(): void {
    const { minionDirectory } = this.#options;
    this.#minionSince = this.logOf("minion").length;
    this.#sessionSince = this.#minionSince;
    const paths = [join(minionDirectory, "minion.yaml"), this.#doom, this.#steps];
    this.#minion = this.#spawn("minion", paths, minionDirectory);
  }

  /** Waits until the minion has a session of its own with the master as both run now, or has ended. */
  async connected(): Promise<void> {
    const isConnected = () => this.logOf("minion").slice(this.#sessionSince).includes('"kind":"connected"');
    await waitUntil("the minion is connected", () => !this.minionRuns || isConnected(), START_MS, LOOK_EVERY_MS);
  }

  get minionRuns(): boolean {
    return this.#minion !== undefined && !isEnded(this.#minion);
  }

  get masterRuns(): boolean {
    return this.#master !== undefined && !isEnded(this.#master);
  }

  /** Says who dies at the next step of that name, and lets a minion that was held go on to it. */
  doom(step: string, victim: Victim): void {
    lay(this.#doom, { step, victim, masterPid: this.#master?.pid ?? 0 });
    letGo(this.#doom);
  }

  /** Nobody is to die any more; a minion that was held goes on. */
  spare(): void {
    lift(this.#doom);
  }

  /** Whether the step at which somebody was to die was reached. */
  get struck(): boolean {
    return hasStruck(this.#doom);
  }

  /** Whether the minion, as it runs now, has a job that it has not ended. */
  get minionWorks(): boolean {
    const said = this.logOf("minion").slice(this.#minionSince);
    const count = (message: string) => said.split(`"msg":"${message}"`).length;
    return this.minionRuns && count("job taken") > count("job done");
  }

  /** Every step that the minion reached, in order, since its directory is there. */
  steps(): readonly string[] {
    return existsSync(this.#steps) ? readFileSync(this.#steps, "utf8").split("\n").filter(Boolean) : [];
  }

  /** The log of either, from the beginning. */
  logOf(who: "master" | "minion"): string {
    const path = join(who === "master" ? this.#options.masterDirectory : this.#options.minionDirectory, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** Pushes a job, again while the master does not yet know that the minion is there; resolves with its return, or when it is lost. */
  async run(fun: string, kwargs: JsonObject = {}, args: readonly string[] = []): Promise<JobEnd> {
    const deadline = Date.now() + START_MS;
    for (;;) {
      const end = await this.#push(fun, kwargs, args);
      if (end.kind === "returned" || end.why !== NOBODY || Date.now() > deadline) return end;
      await pause(LOOK_EVERY_MS);
    }
  }

  async #push(fun: string, kwargs: JsonObject, args: readonly string[]): Promise<JobEnd> {
    const request = { target: { kind: "glob", expr: HOST }, fun, args, kwargs, timeoutMs: JOB_MS };
    try {
      for await (const event of this.#client.stream<JobEvent>("POST", "/v1/jobs", request)) {
        if (event.event === "return") return { kind: "returned", success: event.success, data: event.data };
        if (event.event === "start" && !event.targets.includes(HOST)) return { kind: "lost", why: NOBODY };
        if (event.event === "start" && event.offline.includes(HOST)) return { kind: "lost", why: NOBODY };
        if (event.event === "missing") return { kind: "lost", why: event.reason };
      }
      return { kind: "lost", why: "the stream ended" };
    } catch (error) {
      return { kind: "lost", why: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Every stored version of a secret of the host, by its number: what could open a volume at this moment. */
  async keysOf(path: string): Promise<ReadonlyMap<number, Buffer>> {
    const at = `/v1/secrets/${HOST}`;
    const query = `${at}/history?path=${encodeURIComponent(path)}`;
    const { versions } = await this.#client.request<SecretHistory>("GET", query);
    const keys = new Map<number, Buffer>();
    for (const { version } of versions) {
      const { value } = await this.#client.request<SecretShown>("POST", `${at}/show`, { path, version });
      keys.set(version, Buffer.from(value, "base64"));
    }
    return keys;
  }

  /** Ends both as a shutdown does. */
  async stop(): Promise<void> {
    for (const child of [this.#minion, this.#master]) {
      if (child === undefined || isEnded(child)) continue;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    }
  }

  async #status(): Promise<MasterStatus | undefined> {
    try {
      return await this.#client.request<MasterStatus>("GET", "/v1/status");
    } catch {
      return undefined;
    }
  }

  #spawn(who: "master" | "minion", args: readonly string[], directory: string): ChildProcess {
    const path = join(this.#options.processes, PROCESS_FILES[who]);
    const { runDirectory, compiledDirectory = join(runDirectory, "compiled") } = this.#options;
    const env = { ...process.env, NODE_COMPILE_CACHE: compiledDirectory };
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", path, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      env,
    });
    child.stderr.on("data", (text: Buffer) => appendFileSync(join(directory, "log"), text));
    return child;
  }
}
