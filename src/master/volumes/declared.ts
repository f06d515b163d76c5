import { ConfigError } from "../../core/errors.ts";
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

/** What is wrong with the `volumes:` section of a compiled pillar, in one line; undefined when it can be used, or is not there. */
export function volumesMistake(pillar: JsonObject): string | undefined {
  try {
    readVolumes(pillar);
    return undefined;
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}
