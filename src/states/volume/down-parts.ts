import { loopDetached } from "../loop/detached.ts";
import { luksClosed } from "../luks/closed.ts";
import { lvmLvInactive } from "../lvm/lv-inactive.ts";
import { mountUnmounted } from "../mount/unmounted.ts";
import type { AnyState, Resource } from "../state.ts";
import type { LayerKind } from "./layer.ts";
import { resource } from "./parts.ts";
import type { VolumePlaces } from "./places.ts";
import type { VolumeSpec } from "./spec.ts";

/** One single state that takes a piece of a volume down, and which part of the way up it is the other end of. */
export interface DownPart {
  readonly layer: LayerKind;
  /** Title of the part that brings it up. */
  readonly title: string;
  readonly subject: string;
  /** What was done, as a word: `unmounted`. */
  readonly done: string;
  readonly state: Resource<unknown>;
  readonly params: unknown;
}

function down(
  [layer, title, subject]: readonly [LayerKind, string, string],
  done: string,
  state: AnyState,
  params: Readonly<Record<string, string>>,
): DownPart {
  const kind = resource(state);
  return { layer, title, subject, done, state: kind, params: kind.params.parse(params) };
}

/** What takes the volume down, from the top; dependents left out. */
export function downParts({ name, mount, luks, lvm, loop }: VolumeSpec, places: VolumePlaces): readonly DownPart[] {
  const parts: DownPart[] = [];
  const { content, encrypted, mapping } = places;
  if (mount !== undefined && content !== undefined) {
    const { point } = mount;
    parts.push(down(["mount", "mount", point], "unmounted", mountUnmounted, { name: point, device: content }));
  }
  if (luks !== undefined && encrypted !== undefined && mapping !== undefined) {
    const params = { name: luks.name ?? name, device: encrypted };
    parts.push(down(["luks", "mapping", mapping], "closed", luksClosed, params));
  }
  if (lvm !== undefined) {
    const { vg, lv = name } = lvm;
    parts.push(down(["lv", "logical volume", `/dev/${vg}/${lv}`], "deactivated", lvmLvInactive, { name: lv, vg }));
  }
  if (loop !== undefined) {
    parts.push(down(["loop", "loop device", loop.file], "detached", loopDetached, { name: loop.file }));
  }
  return parts;
}
