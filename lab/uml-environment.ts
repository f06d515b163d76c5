import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const SOURCE = resolve(import.meta.dirname, "guest/ptrace-xstate.c");

/** Debian packages that User-Mode Linux needs on this machine's CPU besides its own. */
export function umlExtraPackages(): readonly string[] {
  return needsWholeState() && !existsSync("/usr/bin/cc") ? ["gcc", "libc6-dev"] : [];
}

/**
 * Environment variables for `linux.uml`. On a CPU with AMX the guest dies at its first process unless a small library
 * (guest/ptrace-xstate.c says why) is loaded before the C library: it is compiled into `directory`. Elsewhere `{}`.
 */
export async function umlEnvironment(directory: string): Promise<Readonly<Record<string, string>>> {
  if (!needsWholeState()) return {};
  const library = join(directory, "ptrace-xstate.so");
  await promisify(execFile)("cc", ["-O2", "-shared", "-fPIC", "-nostdlib", "-o", library, SOURCE]);
  return { LD_PRELOAD: library };
}

function needsWholeState(): boolean {
  return /^flags\s*:.*\bamx_tile\b/mu.test(readFileSync("/proc/cpuinfo", "utf8"));
}
