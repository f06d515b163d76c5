import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import type { Change } from "../state.ts";

/** Starting a database may take its time. */
export const SERVICE_TIMEOUT_MS = 600_000;

/** The name of a unit, with or without its suffix; never an option. */
export const unitName = z
  .string()
  .regex(/^[A-Za-z0-9_:@\\][A-Za-z0-9_.:@\\-]{0,250}$/u, "must be the name of a systemd unit");

/** What systemd says about a unit. */
export interface UnitStatus {
  readonly loaded: boolean;
  /** `active`, `inactive`, `failed`, `activating`, … */
  readonly active: string;
  /** `enabled`, `disabled`, `static`, `masked`, …; "" for none. */
  readonly enabled: string;
}

const NO_UNIT: UnitStatus = { loaded: false, active: "", enabled: "" };

function parseUnit(block: string): UnitStatus {
  const values = new Map(block.split("\n").map((line) => line.split("=", 2) as [string, string]));
  const load = values.get("LoadState");
  return {
    loaded: load === "loaded" || load === "masked",
    active: values.get("ActiveState") ?? "",
    enabled: values.get("UnitFileState") ?? "",
  };
}

/** One look at units, by one process for all of them, in their order. Throws HostError when systemd does not answer. */
export async function readUnits(host: Host, names: readonly string[]): Promise<readonly UnitStatus[]> {
  if (names.length === 0) return [];
  const properties = "--property=LoadState,ActiveState,UnitFileState";
  const { stdout } = await host.run(["systemctl", "show", properties, "--", ...names]);
  const blocks = stdout.trim().split(/\n\s*\n/u);
  return names.map((_, index) => parseUnit(blocks[index] ?? ""));
}

/** One look at a unit, by one process. Throws HostError when systemd does not answer. */
export async function readUnit(host: Host, name: string): Promise<UnitStatus> {
  return (await readUnits(host, [name]))[0] ?? NO_UNIT;
}

/** Whether systemd counts it as up, or on its way there or back. */
export const isActive = ({ active }: UnitStatus): boolean => active !== "inactive" && active !== "failed";

/** What has to change for the unit to run. Throws HostError for one that is not there or must not be started. */
export function compareRunning(name: string, unit: UnitStatus): readonly Change[] {
  if (!unit.loaded) throw noSuchService(name);
  assertNotMasked(name, unit);
  if (unit.active === "active" || unit.active === "reloading") return [];
  return [{ field: "running", from: unit.active, to: "active" }];
}

/** What has to change for the unit not to run; one that this machine does not have does not. */
export function compareDead(unit: UnitStatus): readonly Change[] {
  return unit.loaded && isActive(unit) ? [{ field: "running", from: unit.active, to: "inactive" }] : [];
}

/** The error for a service that this machine does not have; an earlier state may be about to install it. */
export function noSuchService(name: string): HostError {
  return new HostError("service-missing", `cannot find service "${name}": systemd knows no such unit`);
}

/** Throws HostError `service-masked` for a unit that must not be started. */
function assertNotMasked(name: string, { enabled }: UnitStatus): void {
  if (!enabled.startsWith("masked")) return;
  throw new HostError("service-masked", `cannot start service "${name}": it is masked`, {
    hint: `systemctl unmask ${name}`,
  });
}

/** Asks systemd for one thing and waits until it is done. */
export async function systemctl(host: Host, verb: string, name: string, signal: AbortSignal): Promise<void> {
  await host.run(["systemctl", verb, "--quiet", "--", name], { timeoutMs: SERVICE_TIMEOUT_MS, signal });
}

/**
 * Whether a unit is started at boot; undefined for one that nobody can enable or disable (static, generated, transient),
 * which is as it should be either way.
 */
function isEnabled({ enabled }: UnitStatus): boolean | undefined {
  if (enabled === "enabled" || enabled === "enabled-runtime") return true;
  return enabled === "disabled" || enabled.startsWith("masked") ? false : undefined;
}

/** What has to change about the start at boot; nothing when `wanted` is undefined. */
export function compareEnabled(unit: UnitStatus, wanted: boolean | undefined): readonly Change[] {
  const now = isEnabled(unit);
  if (wanted === undefined || now === undefined || now === wanted) return [];
  return [{ field: "enabled", from: unit.enabled, to: wanted ? "enabled" : "disabled" }];
}
