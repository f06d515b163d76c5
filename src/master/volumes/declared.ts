import type { JsonObject } from "../../core/json.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";

/**
 * The pillar path of the key of a volume that a compiled pillar declares; undefined when it declares none of that name, or
 * one without encryption. Throws ConfigError `bad-volume` for a section that is broken.
 */
export function declaredKeyPath(pillar: JsonObject, name: string): string | undefined {
  const volume = readVolumes(pillar).find((candidate) => candidate.name === name);
  return volume && keyPathOf(volume);
}
