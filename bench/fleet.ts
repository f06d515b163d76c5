import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = resolve(import.meta.dirname, "..");
const NODE = process.execPath;
const BUNDLE = join(ROOT, "dist/latchkey.mjs");

/** What a process is given besides its arguments. */
interface Setup {
  readonly nodeFlags?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** What bin/latchkey begins a minion with. */
const MINION: Setup = { nodeFlags: ["--snapshot-blob", join(ROOT, "dist/minion.blob")] };
const MASTER_UNIT = readFileSync(join(ROOT, "systemd/latchkey-master.service"), "utf8");
/** How an installed master's memory is set up: its unit says so. */
const MASTER: Setup = {
  nodeFlags: MASTER_UNIT.match(/--\S+semi-space-size=\d+/gu) ?? [],
  env: { MALLOC_ARENA_MAX: /^Environment=MALLOC_ARENA_MAX=(\d+)$/mu.exec(MASTER_UNIT)?.[1] },
};

/** Builds the bundle, which is what daemons run from where time counts. */
export function buildBundle(): void {
  execFileSync(NODE, ["build.ts"], { cwd: ROOT, stdio: "inherit" });
}

/** Waits until `probe` is true, at most `deadlineMs`. */
export async function until(
  what: string,
  deadlineMs: number,
  probe: () => Promise<boolean> | boolean,
  everyMs = 2,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await probe())) {
    if (performance.now() > end) throw new Error(`gave up waiting for ${what} after ${deadlineMs} ms`);
    await delay(everyMs);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", done);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => {
    server.close(done);
  });
  return port;
}

/** Memory that a process has to itself (PSS) and all that it holds resident, in MiB. */
export function memoryMiB(pid: number): { readonly pss: number; readonly rss: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "mu").exec(rollup)?.[1] ?? Number.NaN) / 1024;
  return { pss: read("Pss"), rss: read("Rss") };
}

/** CPU seconds that a process has used so far. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** A master and minions of the released bundle, in a directory of their own, on loopback. */
export class BenchFleet {
  readonly directory = mkdtempSync(join(tmpdir(), "latchkey-bench-"));
  readonly socket = join(this.directory, "master.sock");
  returnPort = 0;
  readonly #children = new Set<ChildProcess>();

  /** As bin/latchkey runs it: compiled code is kept for the next start. */
  #environment(): NodeJS.ProcessEnv {
    return { ...process.env, NODE_COMPILE_CACHE: join(this.directory, "compile-cache") };
  }

  /** A child process of the bundle; its log goes to `<name>.log` in the fleet's directory. */
  start(name: string, args: readonly string[], { nodeFlags = [], env = {} }: Setup = {}): ChildProcess {
    const log = join(this.directory, `${name}.log`);
    const child = spawn(
      "/bin/sh",
      ["-c", 'log=$1; shift; exec "$@" 2>>"$log"', "sh", log, NODE, ...nodeFlags, BUNDLE, ...args],
      {
        stdio: "ignore",
        env: { ...this.#environment(), ...env },
      },
    );
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Makes the roots that `write` fills. */
  prepare(): void {
    for (const folder of ["states", "pillar/hosts"]) mkdirSync(join(this.directory, folder), { recursive: true });
  }

  /** Starts the master; resolves with its process and the milliseconds until its control socket was there. */
  async startMaster(extra: Readonly<Record<string, unknown>> = {}): Promise<{ child: ChildProcess; ms: number }> {
    if (this.returnPort === 0) {
      this.returnPort = await freePort();
    }
    this.prepare();
    const config = {
      interface: "127.0.0.1",
      ret_port: this.returnPort,
      file_roots: { base: [join(this.directory, "states")] },
      pillar_roots: { base: [join(this.directory, "pillar")] },
      state_dir: join(this.directory, "master"),
      socket: this.socket,
      auto_accept: true,
      ...extra,
    };
    writeFileSync(join(this.directory, "master.yaml"), JSON.stringify(config));
    const begun = performance.now();
    const child = this.start("master", ["master", "--config", join(this.directory, "master.yaml")], MASTER);
    await until("the master's control socket", 15_000, () => existsSync(this.socket));
    return { child, ms: performance.now() - begun };
  }

  /** Writes a file below the fleet's directory: `states/top.sls`, `pillar/hosts/a.yaml`. */
  write(path: string, text: string): void {
    writeFileSync(join(this.directory, path), text);
  }

  /** Starts one real minion process. */
  startMinion(id: string, extra: Readonly<Record<string, unknown>> = {}): ChildProcess {
    const home = join(this.directory, `minion-${id}`);
    mkdirSync(home, { recursive: true });
    const config = {
      master: "127.0.0.1",
      master_port: this.returnPort,
      id,
      state_dir: join(home, "state"),
      run_dir: join(home, "run"),
      cache_dir: join(home, "cache"),
      ...extra,
    };
    writeFileSync(join(home, "minion.yaml"), JSON.stringify(config));
    return this.start(`minion-${id}`, ["minion", "--config", join(home, "minion.yaml")], MINION);
  }

  /** Runs the command line against this fleet's master. */
  async cli(args: readonly string[]): Promise<{ stdout: string; ms: number; status: number | null }> {
    const begun = performance.now();
    const child = spawn(NODE, [BUNDLE, ...args], {
      env: { ...this.#environment(), LATCHKEY_SOCKET: this.socket, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    const status = await new Promise<number | null>((done) => {
      child.once("close", done);
    });
    return { stdout, ms: performance.now() - begun, status };
  }

  /** What a process of this fleet has logged so far. */
  log(name: string): string {
    const file = join(this.directory, `${name}.log`);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** Ends every process that this fleet started, and removes its files. */
  async stop(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await until("the fleet to end", 10_000, () => this.#children.size === 0);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
