import { HostError } from "../../core/errors.ts";
import { isJsonObject } from "../../core/json.ts";
import { withLuksDevice } from "./luks-device.ts";
import { rollBackRotation } from "./roll-back.ts";
import { lookAtSlots, rotateVolume, rotationNote, type VolumeOutcome, withVersions } from "./rotate.ts";
import { tellMaster } from "./rotation-steps.ts";
import type { VolumeContext } from "./runner.ts";

/**
 * Goes on with what was cut short, whichever of the two journals knows of it; undefined when neither does. A note that the
 * master does not know of any more (it was restored from an older backup) is dropped once its current key is proven.
 */
export async function resumeRotation(context: VolumeContext): Promise<VolumeOutcome | undefined> {
  const { name } = context.volume;
  const pending = await context.pending(rotationNote(name));
  const seen = await withLuksDevice(context.at("luks"), async (device) => tellMaster(context, device)("look"));
  switch (seen.state) {
    case "reverting":
      return rollBackRotation(context);
    case "pending":
    case "committed":
      if (seen.state === "committed" && seen.keepOld) break;
      return rotateVolume(context, { keepOld: seen.keepOld });
    case "none":
    case "done":
    case "rolled-back":
      break;
    default:
      return seen.state satisfies never;
  }
  if (pending === undefined) return undefined;
  // asked for, and the master never heard of it
  if (isJsonObject(pending) && pending["stage"] === "noted") {
    return rotateVolume(context, { keepOld: pending["keepOld"] === true });
  }
  await proveCurrent(context, seen.current);
  await context.commit(rotationNote(name));
  return { result: true, comment: `version ${seen.current} of its key opens it; nothing is left to do`, changes: {} };
}

async function proveCurrent(context: VolumeContext, current: number): Promise<void> {
  await withLuksDevice(context.at("luks"), async (device, held) => {
    await withVersions({ context: held, device }, [current], async (keys) => {
      const { found } = await lookAtSlots({ context: held, device }, keys);
      if ((found.get(current) ?? []).length > 0) return;
      throw new HostError(
        "no-stored-key-opens",
        `the master knows nothing of the rotation of volume "${context.volume.name}" that was cut short here, and its version ${current} does not open "${device.path}"`,
        { hint: "was the master restored from an old backup? `latchkey volume rescue` while the volume is open" },
      );
    });
  });
}
