import { isJsonObject, type Json } from "../../core/json.ts";
import type { FunctionCall } from "../execute.ts";

/** Functions on volumes that only look. */
const LOOKING = new Set(["volume.status", "volume.devs", "volume.plan", "volume.list"]);
/** Modules of states that make, open or mount something. */
const MODULES = /^(?:volume|loop|lvm|luks|fs|mount)_\|-/u;

/**
 * Whether a job may have changed a volume, so that the master is told how they are now: a command on volumes, or a run
 * with states of storage in it (a row is `module_|-id_|-name_|-function`).
 */
export function touchesVolumes({ fun }: Pick<FunctionCall, "fun">, data: Json): boolean {
  if (fun.startsWith("volume.")) return !LOOKING.has(fun);
  if (!fun.startsWith("state.") || !isJsonObject(data)) return false;
  return Object.keys(data).some((row) => MODULES.test(row));
}
