import { errorMessage } from "../../core/errors.ts";
import { isJsonObject, type Json } from "../../core/json.ts";
import { readLuksHeader } from "../../states/devices/luks-header.ts";
import { isRemoved } from "../../states/volume/identity.ts";
import { isMountedHere } from "../../states/volume/parts.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import type { Machine } from "../machine.ts";
import { readKeyslots } from "./keyslots.ts";
import type { VolumeContext, VolumeRunner } from "./runner.ts";
import { isVolumeLocked } from "./suspended.ts";

/** Rows of a run by which something was mounted: `module_|-id_|-name_|-function`. */
const MOUNTING = /^(?:mount_\|-.*_\|-mounted|volume_\|-.*_\|-running)$/su;

const STOPPING = /^volume_\|-.*_\|-(.*)_\|-stopped$/su;

/** Names of the volumes that states of a run want to be down. */
export function stoppedBy(data: Json): ReadonlySet<string> {
  if (!isJsonObject(data)) return new Set();
  const isDone = (row: Json | undefined) => row !== undefined && isJsonObject(row) && row["result"] === true;
  return new Set(
    Object.entries(data).flatMap(([name, row]) => {
      const volume = STOPPING.exec(name)?.[1];
      return volume !== undefined && isDone(row) ? [volume] : [];
    }),
  );
}

/** Whether a state of the run made sure that something is mounted. */
export function hasMounted(data: Json): boolean {
  if (!isJsonObject(data)) return false;
  return Object.entries(data).some(([name, row]) => MOUNTING.test(name) && isJsonObject(row) && row["result"] === true);
}

/** Whether the volume is no more: unprovisioned here, or erased, no keyslot being left in its header. */
async function isGivenUp(context: VolumeContext): Promise<boolean> {
  const { host, volume } = context;
  if (await isRemoved(context, volume.name)) return true;
  const { encrypted } = await volumePlaces(host, volume);
  const luks = encrypted === undefined ? undefined : await readLuksHeader(host, encrypted);
  return luks?.kind === "valid" && luks.header.version === 2 && readKeyslots(luks.header).length === 0;
}

async function isUp(volumes: VolumeRunner, stopped: ReadonlySet<string>): Promise<boolean | undefined> {
  let count = 0;
  for (const volume of await volumes.select([])) {
    if (volume.mount === undefined || stopped.has(volume.name)) continue;
    const context = await volumes.context(volume);
    const isWhole = await isMountedHere(context.at("mount"), context.volume);
    if (!isWhole && (await isGivenUp(context))) continue;
    // a suspended one is mounted still, and everything on it stands
    if (!isWhole || (await isVolumeLocked(context.host, context.volume))) return false;
    count += 1;
  }
  return count === 0 ? undefined : true;
}

/**
 * Reaches latchkey-volumes.target, unless that was done before: when every volume that the pillar declares is proven to be
 * mounted, but for those that were unprovisioned or erased and those that the run before wanted down (`stopped`); where none is left, when `hasMountedSome` is true of
 * that run. Never throws. For use while the
 * machine's run lock is held.
 */
export async function settleTarget(
  { target, log }: Pick<Machine, "target" | "log">,
  volumes: VolumeRunner,
  {
    hasMountedSome = false,
    stopped = new Set(),
  }: { readonly hasMountedSome?: boolean; readonly stopped?: ReadonlySet<string> } = {},
): Promise<void> {
  try {
    if (await target.isReached()) return;
    const seen = target.departures;
    const isProven = (await isUp(volumes, stopped)) ?? hasMountedSome;
    // one may have been locked meanwhile, which waits for no run
    if (isProven && target.departures === seen) await target.reach();
  } catch (thrown) {
    log.warn({ reason: errorMessage(thrown) }, "cannot tell whether the volumes are up");
  }
}
