import { ConfigError, errorMessage, HostError } from "../src/core/errors.ts";
import { fetchedKernel } from "./fetched-kernel.ts";
import { kernelTrouble } from "./kernel-check.ts";
import { installedKernel, type KernelFiles } from "./kernel-files.ts";
import { ensurePackages } from "./packages.ts";
import { umlEnvironment, umlExtraPackages } from "./uml-environment.ts";

/** How User-Mode Linux keeps hold of its processes: seccomp is about five times as fast. */
type Tracing = "seccomp" | "ptrace";

/** The kernel that guests run, chosen for this machine. */
export interface LabKernel extends KernelFiles {
  readonly tracing: Tracing;
  /** What its command begins with: the program, and what this kernel needs to be told. */
  readonly argv: readonly [string, ...string[]];
  /** Why it is not the fast one; absent when it is, or when it was asked for. */
  readonly insteadBecause?: string;
}

/** The environment variable that chooses one kernel, come what may: its values are those of `tracing`. */
const SWITCH = "LATCHKEY_LAB_KERNEL";

/**
 * Node sets up io_uring, whose shared pages the kernel handles wrongly under seccomp: nobody gets one. By its command
 * line this holds before there is any process.
 */
const UNDER_SECCOMP = ["seccomp=on", "sysctl.kernel.io_uring_disabled=2"] as const;

/**
 * The kernel for guests on this machine: the fast one where it can be had and has shown that it works here, else the one of
 * this machine's own package, which is installed when missing. Throws ConfigError for an unknown LATCHKEY_LAB_KERNEL, and
 * HostError where the kernel that it asks for, or any, cannot be had.
 */
export async function labKernel(say: (line: string) => void): Promise<LabKernel> {
  const wanted = process.env[SWITCH] ?? "";
  switch (wanted) {
    case "ptrace":
      return ownKernel(say);
    case "seccomp":
      return fastKernel(say);
    case "":
      try {
        return await fastKernel(say);
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        return { ...(await ownKernel(say)), insteadBecause: errorMessage(error) };
      }
    default:
      throw new ConfigError("lab-kernel", `cannot choose the lab's kernel: ${SWITCH} is "${wanted}"`, {
        hint: "seccomp, ptrace, or nothing for the faster one that works",
      });
  }
}

async function fastKernel(say: (line: string) => void): Promise<LabKernel> {
  const files = await fetchedKernel(say);
  const kernel = { ...files, tracing: "seccomp", argv: [files.binary, ...UNDER_SECCOMP] } as const;
  const trouble = await kernelTrouble(kernel);
  if (trouble !== undefined) throw new HostError("no-fast-kernel", `User-Mode Linux ${files.release}: ${trouble}`);
  return kernel;
}

async function ownKernel(say: (line: string) => void): Promise<LabKernel> {
  await ensurePackages(["user-mode-linux", ...umlExtraPackages()], say);
  const files = await installedKernel();
  return { ...files, tracing: "ptrace", argv: [files.binary] };
}

/** One line about the kernel that guests run. */
export function kernelLine({ release, tracing, insteadBecause }: LabKernel): string {
  const why = insteadBecause === undefined ? "" : `: the faster one cannot be had (${insteadBecause})`;
  return `guests run User-Mode Linux ${release} under ${tracing}${why}`;
}

/** Environment variables that the kernel needs here; what it takes is made in `directory`. */
export const kernelEnvironment = async (
  { tracing }: LabKernel,
  directory: string,
): Promise<Readonly<Record<string, string>>> => (tracing === "ptrace" ? umlEnvironment(directory) : {});
