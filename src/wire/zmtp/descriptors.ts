import { readFileSync } from "node:fs";
import type { CrowdBounds } from "./crowd.ts";

/** Kept back for the control socket, the store, logs and programs that the master starts; half where that is less. */
const RESERVED = 256;
/** Where the limit cannot be read: what Linux gives a process that asks for nothing. */
const USUAL_LIMIT = 1024;
const MOST_STRANGERS = 8192;
/** Eight networks may fill the room for those without a session, none alone. */
const NETWORKS = 8;

/** Descriptors that this process may have open, by its soft limit (proc_pid_limits(5)). */
export function descriptorLimit(): number {
  let limits: string;
  try {
    limits = readFileSync("/proc/self/limits", "utf8");
  } catch {
    return USUAL_LIMIT;
  }
  const [, soft = ""] = /^Max open files\s+(\S+)/mu.exec(limits) ?? [];
  return soft === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(soft) || USUAL_LIMIT;
}

/** How many connections that leaves. */
export function boundsFor(limit: number): CrowdBounds {
  const all = Math.max(1, limit - Math.min(RESERVED, Math.floor(limit / 2)));
  const strangers = Math.min(MOST_STRANGERS, all);
  return { all, strangers, strangersOfNetwork: Math.ceil(strangers / NETWORKS) };
}
