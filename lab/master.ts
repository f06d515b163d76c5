import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../src/core/errors.ts";
import type { JsonObject } from "../src/core/json.ts";
import { command, type CommandOptions, type CommandResult } from "./command.ts";
import { MASTER_ADDRESS, type LabNetwork } from "./network.ts";
import { PROJECT } from "./place.ts";
import { waitUntil } from "./wait-until.ts";

export interface LabMasterOptions {
  readonly fileRoots: readonly string[];
  readonly pillarRoots: readonly string[];
  readonly autoAccept?: boolean;
  /** Further keys of master.yaml. */
  readonly settings?: JsonObject;
}

/** A real master: `bin/latchkey master` in the lab's network, its command line against its own control socket. */
export class LabMaster {
  readonly directory: string;
  readonly stateDirectory: string;
  readonly logPath: string;
  readonly socket: string;
  readonly #network: LabNetwork | undefined;
  readonly #config: string;
  #running: { readonly child: ChildProcess; readonly exited: Promise<unknown> } | undefined;

  /** Without a network it runs in this machine's own; say in `settings` where it listens. */
  constructor(directory: string, network: LabNetwork | undefined, options: LabMasterOptions) {
    this.directory = directory;
    this.stateDirectory = join(directory, "state");
    this.logPath = join(directory, "master.log");
    this.socket = join(directory, "master.sock");
    this.#network = network;
    this.#config = join(directory, "master.yaml");
    mkdirSync(this.stateDirectory, { mode: 0o700 });
    const settings: JsonObject = {
      interface: MASTER_ADDRESS,
      file_roots: { base: options.fileRoots },
      pillar_roots: { base: options.pillarRoots },
      auto_accept: options.autoAccept ?? false,
      state_dir: this.stateDirectory,
      socket: this.socket,
      log_level: "debug",
      ...options.settings,
    };
    // JSON is YAML
    writeFileSync(this.#config, JSON.stringify(settings, null, 2));
  }

  /** Starts the master, and waits until it answers on its socket. */
  async start(): Promise<void> {
    const argv = [...(this.#network?.prefix ?? []), join(PROJECT, "bin/latchkey"), "master", "--config", this.#config];
    const [file = "", ...args] = argv;
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
    const log = createWriteStream(this.logPath, { flags: "a", mode: 0o600 });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    const exited = once(child, "exit").then(() => log.end());
    this.#running = { child, exited };
    const up = async () => {
      if (child.exitCode !== null) throw new HostError("master-down", `the master ended:\n${this.log().slice(-3000)}`);
      return existsSync(this.socket) && (await this.cli(["status", "--json"], { okCodes: [0, 3, 4] })).exitCode === 0;
    };
    await waitUntil("the master answers", up, 30_000);
  }

  /** Ends the master: orderly, or with SIGKILL as a crash would. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    if (!this.#running) return;
    const { child, exited } = this.#running;
    this.#running = undefined;
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await exited;
    clearTimeout(timer);
  }

  /** One command line against this master, such as `["keys", "list"]`. */
  async cli(words: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return command([join(PROJECT, "bin/latchkey"), "--socket", this.socket, ...words], options);
  }

  /** The same with `--out json`, its answer read. */
  async query<T>(words: readonly string[], options?: CommandOptions): Promise<T> {
    const { stdout } = await this.cli([...words, "--out", "json"], options);
    return JSON.parse(stdout) as T;
  }

  /** Everything that the master has logged and printed so far, over all its starts. */
  log(): string {
    return existsSync(this.logPath) ? readFileSync(this.logPath, "utf8") : "";
  }

  async destroy(): Promise<void> {
    await this.stop("SIGKILL");
  }
}
