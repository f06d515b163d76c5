import { formatSize } from "../../core/units.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Host } from "../../core/host.ts";
import { findContents } from "../../states/devices/blank.ts";
import { type PlannedStep, planStack } from "../../states/volume/plan.ts";
import { errorText } from "../../core/error-text.ts";
import { serialOf, tryDevice } from "./layer-status.ts";
import type { VolumeContext } from "./runner.ts";

/** What a destructive step would write over, for the eyes of who decides. */
async function describeTarget(host: Host, { subject, destructive }: PlannedStep): Promise<JsonObject> {
  if (!destructive || !subject.startsWith("/dev/")) return {};
  const device = await tryDevice(host, subject);
  if (device === undefined) return {};
  const found = (await findContents(host, device)) ?? "is blank: no signature, not in use";
  return { device: { path: subject, serial: serialOf(device), size: formatSize(device.bytes), found: `it ${found}` } };
}

const words = (value: Json): string =>
  value === null ? "-" : typeof value === "string" ? value : JSON.stringify(value);

/**
 * What `provision` and `start` would do with a volume: `steps` from the bottom, destructive ones with what they would write
 * over. `result` is false when something found speaks against it. Reads only.
 */
export async function planVolume(context: VolumeContext): Promise<JsonObject> {
  const { steps, refusal } = await planStack(context, context.volume);
  const rows: JsonObject[] = [];
  for (const step of steps) {
    const { layer, what, subject, from, to, destructive, seen } = step;
    const target = await describeTarget(context.host, step);
    rows.push({ layer, what, subject, from: words(from), to: words(to), destructive, seen, ...target });
  }
  const makes = steps.some(({ destructive }) => destructive);
  if (refusal !== undefined) return { result: false, comment: errorText(refusal), steps: rows };
  const comment =
    rows.length === 0
      ? "up: there is nothing to do"
      : makes
        ? "provision would make it; start would refuse, because it is not provisioned"
        : "start (and provision) would bring it up; nothing would be formatted";
  return { result: true, comment, steps: rows };
}
