import { TransportError } from "../../core/errors.ts";
import { keyPathOf, type VolumeSpec } from "../../states/volume/spec.ts";
import type { MasterSide } from "../backing.ts";
import type { Patience } from "../link.ts";

/**
 * Has the master set aside every stored version of a removed volume's key, so that none is leased any more; they stay in
 * its store. Returns what became of it in words, "" when there was nothing to set aside. Throws TransportError `no-master`.
 */
export async function forgetKey(
  master: MasterSide | undefined,
  volume: VolumeSpec,
  patience: Patience,
): Promise<string> {
  const path = keyPathOf(volume);
  if (path === undefined) return "";
  if (master === undefined) {
    throw new TransportError("no-master", `cannot have the key of volume "${volume.name}" forgotten without a master`, {
      hint: "everything else is done; run it again with the master, which then forgets the key",
    });
  }
  const { through, kept } = await master.link.ask("volume.forget", { volume: volume.name, path }, patience);
  if (kept) return "still in the pillar, which says !secret: remove it there";
  return through === 0 ? "" : `versions up to ${through} set aside at the master`;
}
