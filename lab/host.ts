import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { HostError } from "../src/core/errors.ts";
import type { CommandOptions, CommandResult } from "./command.ts";
import { HostConsole } from "./console.ts";
import { ControlLine } from "./control-line.ts";
import { kernelEnvironment, type LabKernel } from "./kernel.ts";
import type { LabNetwork } from "./network.ts";
import { pinned } from "./pinned.ts";

/** A file, or a symbolic link. */
export type InjectedFile = { readonly text: string; readonly mode?: number } | { readonly link: string };

export interface LabHostOptions {
  readonly name: string;
  /** An empty directory for all that this host writes. */
  readonly directory: string;
  readonly network: LabNetwork;
  readonly kernel: LabKernel;
  /** The root file system image for that kernel, which stays as it is. */
  readonly image: string;
  /** A read-only image mounted at /opt/latchkey. */
  readonly productDisk?: string;
  /** Files laid over the root file system at every boot, by absolute path. */
  readonly files?: Readonly<Record<string, InjectedFile>>;
  /** Size of the blank data disk, `/dev/ubdb`; default 512 MiB. */
  readonly dataDiskBytes?: number;
  readonly memoryMiB?: number;
}

interface Running {
  readonly child: ChildProcess;
  readonly control: ControlLine;
  /** Settles when the host is off, whatever turned it off. */
  readonly exited: Promise<void>;
}

/** A whole host: a real kernel with systemd, a blank data disk, a network port, a power switch. */
export class LabHost {
  readonly name: string;
  readonly console: HostConsole;
  readonly address: string;
  readonly tap: string;
  /** The images of its two disks: what a thief of the host would hold. The first is a copy-on-write file. */
  readonly rootDisk: string;
  readonly dataDisk: string;
  /** A directory of this machine that the host sees as /lab. */
  readonly share: string;
  readonly #options: LabHostOptions;
  #running: Running | undefined;

  private constructor(options: LabHostOptions, port: { readonly tap: string; readonly address: string }) {
    const { directory } = options;
    this.name = options.name;
    this.#options = options;
    this.tap = port.tap;
    this.address = port.address;
    this.rootDisk = join(directory, "root.cow");
    this.dataDisk = join(directory, "data.img");
    this.share = join(directory, "share");
    this.console = new HostConsole(join(directory, "console.log"));
  }

  /** Makes the host's disks and network port; it stays off. */
  static async create(options: LabHostOptions): Promise<LabHost> {
    mkdirSync(join(options.directory, "share/inject"), { recursive: true });
    const host = new LabHost(options, await options.network.addPort());
    writeFileSync(host.dataDisk, "");
    truncateSync(host.dataDisk, options.dataDiskBytes ?? 512 << 20);
    host.inject("/etc/hosts", { text: `127.0.0.1 localhost ${host.name}\n` });
    for (const [path, file] of Object.entries(options.files ?? {})) host.inject(path, file);
    return host;
  }

  /** Lays a file over the root file system from the next boot on; mode 0644 unless told otherwise. */
  inject(path: string, file: InjectedFile): void {
    const target = join(this.share, "inject", path);
    mkdirSync(dirname(target), { recursive: true });
    rmSync(target, { force: true });
    if ("link" in file) {
      symlinkSync(file.link, target);
      return;
    }
    writeFileSync(target, file.text);
    chmodSync(target, file.mode ?? 0o644);
  }

  /** Turns the host on. The promise ends as soon as its kernel runs; see `ready`. */
  async boot(): Promise<void> {
    if (this.#running) throw new HostError("host-up", `host "${this.name}" is on already`);
    const { network, kernel, image, productDisk, memoryMiB = 512, directory } = this.#options;
    const environment = await kernelEnvironment(kernel, directory);
    this.console.boot += 1;
    this.console.add("lab", "power on");
    const argv = [
      ...network.prefix,
      ...pinned(),
      ...kernel.argv,
      `mem=${memoryMiB}M`,
      `ubd0=${this.rootDisk},${image}`,
      `ubd1=${this.dataDisk}`,
      ...(productDisk === undefined ? [] : [`ubd2r=${productDisk}`]),
      "root=/dev/ubda",
      "rw",
      "init=/sbin/lab-init",
      `vec0:transport=tap,ifname=${this.tap},depth=128,gro=1`,
      "con=null",
      "con0=null,fd:1",
      "ssl=null",
      "ssl0=fd:3",
      "ssl1=null,fd:4",
      "quiet",
      `lab.name=${this.name}`,
      `lab.address=${this.address}/24`,
      `lab.share=${this.share}`,
    ];
    const [file = "", ...args] = argv;
    const child = spawn(file, args, {
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
      detached: true,
      cwd: directory,
      env: { ...environment, PATH: process.env["PATH"] ?? "/usr/bin:/usr/sbin", HOME: directory, TMPDIR: directory },
    });
    const [, out, err, line, journal] = child.stdio as unknown as [null, Readable, Readable, Duplex, Readable];
    this.console.follow("kernel", out);
    this.console.follow("kernel", err);
    this.console.follow("journal", journal);
    const control = new ControlLine(line);
    const off = () => {
      this.console.add("lab", "power off");
      control.end();
      this.console.end();
      this.#running = undefined;
    };
    this.#running = { child, control, exited: once(child, "exit").then(off) };
    await once(child, "spawn");
  }

  /** Until commands can be run in the host. */
  async ready(timeoutMs = 120_000): Promise<void> {
    const { control } = this.#on();
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new HostError("lab-timeout", `host "${this.name}" did not come up:\n${this.console.tail(25)}`));
    }, timeoutMs);
    try {
      await Promise.race([control.ready(), promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs a shell script in the host as root. */
  async run(script: string, options?: CommandOptions): Promise<CommandResult> {
    return this.#on().control.run(script, options);
  }

  /** What a file in the host holds, up to some MiB. */
  async read(path: string): Promise<Buffer> {
    const copy = `copy-${Math.random().toString(36).slice(2)}`;
    await this.run(`cat -- '${path}' >/lab/${copy}`);
    return readFileSync(join(this.share, copy));
  }

  /** Pulls the plug: nothing in the host gets to do anything about it. */
  async powerCut(): Promise<void> {
    const { child, exited } = this.#on();
    this.console.add("lab", "power cut");
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    await exited;
  }

  /** Shuts the host down the orderly way. */
  async shutdown(timeoutMs = 90_000): Promise<void> {
    const { control, exited } = this.#on();
    const asked = control.run("systemctl poweroff --no-block", { timeoutMs }).catch((error: unknown) => {
      if (!(error instanceof HostError && error.code === "host-down")) throw error;
    });
    const timer = setTimeout(() => void this.powerCut(), timeoutMs);
    await Promise.all([asked, exited]);
    clearTimeout(timer);
  }

  /** Turns the host off in any case, and closes its log. */
  async destroy(): Promise<void> {
    if (this.#running) await this.powerCut();
    await this.console.close();
  }

  #on(): Running {
    if (!this.#running) throw new HostError("host-down", `host "${this.name}" is off`);
    return this.#running;
  }
}
