import type { AuditFact } from "../../core/audit/chain.ts";
import type { JobRequest } from "../../core/control-api.ts";
import { ROOT } from "../audit/actor.ts";

/** Functions on volumes that only look. */
const LOOKING = new Set(["volume.status", "volume.devs", "volume.plan", "volume.list"]);

/**
 * The audit record that goes before a job on volumes which changes something, with its `force` and everything else that it
 * was given (never key material: jobs carry none), and before a restart that skips the safeguard; undefined for any other.
 */
export function volumeJobFact(
  { target, fun, args, kwargs }: Pick<JobRequest, "target" | "fun" | "args" | "kwargs">,
  at: number,
): AuditFact | undefined {
  const isForced = fun === "system.reboot" && kwargs["force"] === true;
  if (!isForced && (!fun.startsWith("volume.") || LOOKING.has(fun))) return undefined;
  const data = { fun, target: { ...target }, args: [...args], kwargs, force: kwargs["force"] === true };
  return { at, kind: "volume-command", ...ROOT, subject: "", data };
}
