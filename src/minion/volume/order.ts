import type { VolumeSpec } from "../../states/volume/spec.ts";

const depthOf = ({ mount }: VolumeSpec): number => (mount?.point ?? "").split("/").filter((part) => part !== "").length;

/** Volumes in the order in which they are brought up: one that is mounted inside of another comes after it. */
export function upOrder(volumes: readonly VolumeSpec[]): readonly VolumeSpec[] {
  return volumes.toSorted((a, b) => depthOf(a) - depthOf(b));
}

/** The order in which they are taken down. */
export const downOrder = (volumes: readonly VolumeSpec[]): readonly VolumeSpec[] => upOrder(volumes).toReversed();
