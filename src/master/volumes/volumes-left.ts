import type { CompiledPillar } from "../../pillar/compile.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import type { RotationRecord } from "./rotation-record.ts";

/**
 * Names of a host's volumes that are still to be rotated: those (of `names`, or all) whose key the master makes, without a
 * rotation that began after `since` and has come to its end, or as far as it was to come. Throws ConfigError for a broken section.
 */
export function volumesLeft(
  { pillar, secrets }: CompiledPillar,
  rotations: readonly RotationRecord[],
  names: readonly string[],
  since: number,
): readonly string[] {
  const isDone = (path: string) =>
    rotations.some(
      ({ path: rotated, begunAt, state, keepOld }) =>
        rotated === path && begunAt >= since && (state === "done" || (state === "committed" && keepOld)),
    );
  return readVolumes(pillar).flatMap((volume) => {
    const path = keyPathOf(volume);
    if (path === undefined || secrets.get(path)?.kind !== "generate" || isDone(path)) return [];
    return names.length === 0 || names.includes(volume.name) ? [volume.name] : [];
  });
}
