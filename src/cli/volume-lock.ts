import type { HoldList } from "../core/release-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions } from "./volume-job.ts";

/**
 * `volume lock|unlock`: the master locks or unlocks the leases before it pushes the job. What is still locked afterwards is
 * told on standard error, also for hosts that did not answer. Returns the exit status.
 */
export async function lockVolumes(
  fun: "volume.lock" | "volume.unlock",
  target: string,
  options: VolumeJobOptions,
  context: Context,
): Promise<number> {
  const status = await pushVolumeJob(volumeJob(target, fun, {}, options), options, context);
  const { locks = [] } = await context.client.request<HoldList>("GET", "/v1/holds");
  for (const { id, volume, by } of locks) {
    const what = volume === "" ? "every lease" : `leases of ${sanitiseLine(volume)}`;
    context.terminal.warn(`locked: ${what} of ${sanitiseLine(id)} waits, locked by ${sanitiseLine(by)}\n`);
  }
  return status;
}
