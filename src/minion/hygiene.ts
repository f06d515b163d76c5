import { readFileSync, readdirSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";

/** A swap device or file, as /proc/swaps (proc(5)) has it. */
export interface SwapArea {
  readonly path: string;
  readonly kind: "zram" | "encrypted" | "plain";
  readonly bytes: number;
}

/** What protects keys on this machine while they are in memory, as the kernel reports it. */
export interface Hygiene {
  /** Soft limit of a core dump in bytes, or `unlimited`. */
  readonly coreLimit: string;
  /** Kinds of memory in a core dump, hexadecimal bits (core(5)); 0 leaves nothing. */
  readonly coreFilter: string;
  /** Where the kernel sends core dumps: a pattern, or a program after `|`, which gets them whatever the limit says. */
  readonly corePattern: string;
  /** Yama's mode (0 to 3); `absent` where the kernel has none. */
  readonly ptraceScope: string;
  /** Whether anyone traces this process now. */
  readonly traced: boolean;
  readonly swap: readonly SwapArea[];
  /** Why no page of this process reaches a disk by swapping; empty when one can. */
  readonly keptOutOfSwap: string;
}

/** Reads the files that `readHygiene` needs; undefined for what is not there or not allowed. */
export type ReadText = (path: string) => string | undefined;

const readText: ReadText = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // not there, or not ours to read: both mean that it cannot be told
    return undefined;
  }
};

const UNKNOWN = "unknown";

/** What is really in force for this process, read from /proc and /sys, nothing assumed from unit files. */
export function readHygiene(read: ReadText = readText): Hygiene {
  const limit = /^Max core file size\s+(\S+)/mu.exec(read("/proc/self/limits") ?? "")?.[1];
  const tracer = /^TracerPid:\s+(\d+)/mu.exec(read("/proc/self/status") ?? "")?.[1];
  const swap = parseSwaps(read("/proc/swaps") ?? "").map((area) => ({ ...area, kind: kindOf(area.path, read) }));
  return {
    coreLimit: limit ?? UNKNOWN,
    coreFilter:
      read("/proc/self/coredump_filter")
        ?.trim()
        .replace(/^0+(?=.)/u, "") ?? UNKNOWN,
    corePattern: read("/proc/sys/kernel/core_pattern")?.trim() ?? UNKNOWN,
    ptraceScope: read("/proc/sys/kernel/yama/ptrace_scope")?.trim() ?? "absent",
    traced: tracer !== undefined && tracer !== "0",
    swap,
    keptOutOfSwap: swapReason(swap, read),
  };
}

/** The lines of /proc/swaps, octal escapes resolved. */
export function parseSwaps(text: string): readonly { readonly path: string; readonly bytes: number }[] {
  return text
    .split("\n")
    .slice(1)
    .filter((line) => line !== "")
    .map((line) => {
      const [path = "", , kib = "0"] = line.split(/\s+/u);
      const plain = path.replaceAll(/\\([0-7]{3})/gu, (_, octal: string) =>
        String.fromCodePoint(Number.parseInt(octal, 8)),
      );
      return { path: plain, bytes: Number(kib) * 1024 };
    });
}

function kindOf(path: string, read: ReadText): SwapArea["kind"] {
  const name = basename(realPath(path));
  if (name.startsWith("zram")) return "zram";
  return isEncrypted(name, read, 8) ? "encrypted" : "plain";
}

/** Whether dm-crypt is at or below a block device: an LV over LUKS is encrypted too. */
function isEncrypted(name: string, read: ReadText, depth: number): boolean {
  if (read(`/sys/class/block/${name}/dm/uuid`)?.startsWith("CRYPT-") === true) return true;
  const below = depth === 0 ? [] : namesIn(`/sys/class/block/${name}/slaves`);
  return below.length > 0 && below.every((slave) => isEncrypted(slave, read, depth - 1));
}

function swapReason(swap: readonly SwapArea[], read: ReadText): string {
  if (swap.length === 0) return "the machine has no swap";
  const cgroup = /^0::(\/.*)$/mu.exec(read("/proc/self/cgroup") ?? "")?.[1];
  const most = cgroup === undefined ? undefined : read(join("/sys/fs/cgroup", cgroup, "memory.swap.max"));
  if (most?.trim() === "0") return "the unit's MemorySwapMax=0";
  return swap.some(({ kind }) => kind === "plain") ? "" : "all swap is encrypted or in memory";
}

/** What an operator should know of a state that lets a key out of memory; empty when there is nothing. */
export function hygieneWarnings(found: Hygiene): readonly string[] {
  const warnings: string[] = [];
  if (found.coreFilter !== "0" && found.coreLimit !== "0") {
    warnings.push("a core dump of the minion would hold its memory: neither LimitCORE nor coredump_filter is 0");
  }
  if (found.keptOutOfSwap === "") {
    const plain = found.swap.filter(({ kind }) => kind === "plain").map(({ path }) => path);
    warnings.push(`memory of the minion may be swapped to a disk in plain text: ${plain.join(", ")}`);
  }
  if (found.traced) warnings.push("another process traces the minion and can read its memory");
  return warnings;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // a deleted swap file has no path any more
    return path;
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    // no device mapper device: nothing below
    return [];
  }
}
