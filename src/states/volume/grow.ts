import { HostError } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { formatSizes } from "../../core/units.ts";
import type { Change } from "../state.ts";
import { LOOP_DEVICE, LOOP_FILE } from "./grow-base.ts";
import { FILE_SYSTEM, LUKS_MAPPING } from "./grow-content.ts";
import type { GrowthContext, GrowthView } from "./grow-context.ts";
import { LOGICAL_VOLUME, PHYSICAL_VOLUMES } from "./grow-lvm.ts";
import type { LayerKind } from "./layer.ts";

/** From the bottom up: each is compared with the one below it, so that a run that was cut short goes on at the next. */
const LAYERS = [LOOP_FILE, LOOP_DEVICE, PHYSICAL_VOLUMES, LOGICAL_VOLUME, LUKS_MAPPING, FILE_SYSTEM] as const;

const journalKey = (name: string): string => `grow:${name}`;

/** A change of size, and in which layer. */
export interface SizeChange extends Change {
  readonly layer: LayerKind;
}

/**
 * What of a volume is smaller than the pillar wants it, or than what is below allows: `[]` for nothing. What lies above grows
 * with it and is not listed. Reads sizes in /sys, metadata and superblocks; starts no process. Throws HostError
 * `cannot-shrink` when the pillar asks for less than there is, `device-shrunk` when a device below became smaller.
 */
export async function growthNeeded(view: GrowthView): Promise<readonly SizeChange[]> {
  const changes: SizeChange[] = [];
  for (const { layer, find } of LAYERS) {
    for (const { what, ...sizes } of await find(view)) {
      const [from, to] = formatSizes(sizes.from, sizes.to);
      changes.push({ layer, field: what, from, to });
    }
  }
  return changes;
}

/**
 * Makes a volume that is up as large as the pillar says and the devices below allow, from the bottom up, the file system
 * online; nothing is done when nothing has to grow. Every layer is looked at before the first command runs, then again before its
 * own turn. Returns what grew, by name, as `{ old, new }`. Throws as `growthNeeded`, and HostError `still-different`.
 */
export async function growVolume(context: GrowthContext): Promise<Readonly<Record<string, Json>>> {
  const key = journalKey(context.volume.name);
  const needed = await growthNeeded(context);
  const wasCut = (await context.pending(key)) !== undefined;
  if (needed.length === 0) {
    if (wasCut) await context.commit(key);
    return {};
  }
  if (wasCut) context.note("an earlier growth was cut short: it goes on");
  await context.begin(key, { needed: needed.map(({ field }) => field) });
  context.reached("grow:noted");
  const changes: Record<string, Json> = {};
  for (const { layer, step, find } of LAYERS) {
    const at = context.at(layer);
    const growths = await find(at);
    for (const { what, from, to, grow } of growths) {
      await grow(at);
      const [was, is] = formatSizes(from, to);
      changes[what] = { old: was, new: is };
    }
    if (growths.length === 0) continue;
    const [left] = await find(at);
    if (left !== undefined) {
      const [has, wanted] = formatSizes(left.from, left.to);
      throw new HostError("still-different", `cannot grow ${left.what}: it has ${has} still, not ${wanted}`);
    }
    context.reached(step);
  }
  await context.commit(key);
  return changes;
}
