import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kernelEnvironment, kernelLine, labKernel, type LabKernel } from "../../lab/kernel.ts";
import { ensurePackages, KERNEL_PACKAGES } from "../../lab/packages.ts";
import { PROJECT } from "../../lab/place.ts";
import { pinned } from "../../lab/pinned.ts";
import { makeScratch } from "../../lab/scratch.ts";
import { showOutput } from "../tiers.ts";

const DEADLINE_MS = 3_000_000;
const GUEST_MEMORY = "2048M";

/** How to start a guest kernel whose first process is guest-init.sh. `exchange` is the one directory that it may write to. */
export interface GuestCommand {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** Removes what the guest's memory was kept in. */
  readonly dispose: () => void;
}

/** The environment of what runs the tests: the project's own Node, and the system's tools. */
export const baseEnvironment = (): Record<string, string> => ({
  PATH: `${join(PROJECT, "node_modules/.bin")}:/usr/sbin:/usr/bin:/sbin:/bin`,
});

/** The kernel that guests run here, when all is installed that it takes. Throws HostError where it cannot be. */
export async function readyKernel(): Promise<LabKernel> {
  await ensurePackages(KERNEL_PACKAGES);
  return labKernel((line) => console.error(line));
}

/** The command that starts a User-Mode Linux guest; `more` are parameters of the kernel, `parameters` those of its init. */
export async function guestCommand(
  kernel: LabKernel,
  exchange: string,
  parameters: readonly string[],
  more: readonly string[] = [`mem=${GUEST_MEMORY}`],
): Promise<GuestCommand> {
  const memory = makeScratch();
  const env = { ...baseEnvironment(), HOME: memory, TMPDIR: memory, ...(await kernelEnvironment(kernel, exchange)) };
  const init = `init=${join(PROJECT, "test/kernel/guest-init.sh")}`;
  // the tests make errors of devices on purpose: the kernel's own words come from "critical" on
  const fixed = [
    "rootfstype=hostfs",
    "rootflags=/",
    "ro",
    init,
    "con=null",
    "con0=null,fd:1",
    "ssl=null",
    "loglevel=3",
  ];
  const ours = [`PROJECT=${PROJECT}`, `EXCHANGE=${exchange}`, `MODULES=${kernel.modules}`, ...parameters];
  const [first = "", ...rest] = [...pinned(), ...kernel.argv, ...more, ...fixed, ...ours];
  return {
    argv: [first, ...rest],
    env,
    dispose: () => rmSync(memory, { recursive: true, force: true }),
  };
}

/** Runs a guest to its end, its output going where ours goes, each line after `label`; resolves with the last lines of it. */
export async function runInGuest(
  kernel: LabKernel,
  exchange: string,
  parameters: readonly string[],
  label = "",
): Promise<string> {
  const { argv, env, dispose } = await guestCommand(kernel, exchange, parameters);
  try {
    return await run(argv, env, label);
  } finally {
    dispose();
  }
}

/** Runs to the end, or to the deadline, its output going where ours goes; resolves with the last lines of it. */
export async function run(
  argv: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  label = "",
): Promise<string> {
  const [file, ...args] = argv;
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], env, cwd: PROJECT, detached: true });
  const shown = showOutput(child.stdout, label);
  const stop = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
  };
  const timer = setTimeout(stop, DEADLINE_MS);
  process.once("exit", stop);
  try {
    await once(child, "exit");
    return shown.lastLines();
  } finally {
    clearTimeout(timer);
    process.off("exit", stop);
  }
}

/**
 * Runs one script of the project with Node in a User-Mode Linux kernel; resolves with what it printed, and with a line
 * about the kernel. Throws when it ends with another status than 0.
 */
export async function runScriptInGuest(script: string): Promise<{ readonly output: string; readonly kernel: string }> {
  const kernel = await readyKernel();
  const exchange = mkdtempSync(join(tmpdir(), "latchkey-kernel-"));
  try {
    await runInGuest(kernel, exchange, [`SCRIPT=${join(PROJECT, script)}`]);
    const read = (name: string) => (existsSync(join(exchange, name)) ? readFileSync(join(exchange, name), "utf8") : "");
    if (read("status").trim() !== "0") throw new Error(`${script} failed in the guest:\n${read("output")}`);
    return { output: read("output"), kernel: kernelLine(kernel) };
  } finally {
    rmSync(exchange, { recursive: true, force: true });
  }
}
