import { ConfigError, HostError } from "../../core/errors.ts";
import { escrowAfter } from "./after-change.ts";
import { killKeyslot, opensSlot } from "./keyslots.ts";
import { withLuksDevice } from "./luks-device.ts";
import { lookAtSlots, type Rotation, rotationNote, type VolumeOutcome, withVersions } from "./rotate.ts";
import { tellMaster } from "./rotation-steps.ts";
import type { VolumeContext } from "./runner.ts";

/**
 * Takes a rotation back while both slots exist: the old version is proven to open, becomes the current one again, and only
 * then the new slot is killed. The new version stays in the store. May be run again after it was cut short.
 */
export async function rollBackRotation(context: VolumeContext): Promise<VolumeOutcome> {
  const { name } = context.volume;
  return withLuksDevice(context.at("luks"), async (device, onLuks) => {
    const tell = tellMaster(onLuks, device);
    const seen = await tell("look");
    if (!["pending", "committed", "reverting"].includes(seen.state)) {
      if (seen.state === "rolled-back") await onLuks.commit(rotationNote(name));
      throw new ConfigError(
        "nothing-to-roll-back",
        `cannot roll back volume "${name}": no rotation of it is under way`,
      );
    }
    const { from, to } = seen;
    await onLuks.begin(rotationNote(name), { luksUuid: device.luksUuid, from, to, slot: -1, stage: "reverting" });
    onLuks.reached("rollback:noted");
    const rotation: Rotation = { context: onLuks, device, tell, ...seen };
    return withVersions(rotation, [from, to], async (keys) => {
      const { found } = await lookAtSlots(rotation, keys);
      const old = keys.get(from);
      const [stays] = found.get(from) ?? [];
      if (old === undefined || stays === undefined) {
        throw new HostError(
          "old-slot-gone",
          `cannot roll back volume "${name}": version ${from} of its key opens no keyslot any more`,
          { hint: "`latchkey volume rotate` goes on with the new one" },
        );
      }
      await tell("revert", { from, to, slot: stays });
      onLuks.reached("rollback:reverting");
      const killed = found.get(to) ?? [];
      for (const slot of killed) {
        if (!(await opensSlot(onLuks, device.path, old.secret, stays))) {
          throw new HostError(
            "slot-not-proven",
            `cannot kill keyslot ${slot} of "${device.path}": slot ${stays} is not proven`,
          );
        }
        await killKeyslot(onLuks, device.path, old.secret, slot);
      }
      onLuks.reached("rollback:new-slot-killed");
      await escrowAfter(onLuks, "rotate");
      await tell("reverted", { from, to, slot: stays });
      await onLuks.commit(rotationNote(name));
      onLuks.reached("rollback:done");
      return {
        result: true,
        comment: `version ${from} in keyslot ${stays} is the key again; version ${to} stays in the store`,
        changes: { key: { from: `version ${to}`, to: `version ${from}` } },
      };
    });
  });
}
