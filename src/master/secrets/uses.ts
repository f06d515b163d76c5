import { ConfigError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import { compile } from "../../sls/compile.ts";
import type { LowChunk, SlsSource } from "../../sls/low.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import { catalogueOf } from "../../states/validate.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";

/** States by the path of the secret that they name; null when the host's states do not compile, or there is no highstate. */
export type SecretUses = ReadonlyMap<string, readonly string[]> | null;

function* textsOf(value: Json): Generator<string> {
  if (typeof value === "string") yield value;
  else if (Array.isArray(value)) for (const item of value as readonly Json[]) yield* textsOf(item);
  else if (isJsonObject(value)) for (const item of Object.values(value)) yield* textsOf(item);
}

function names(chunk: LowChunk, reference: string): boolean {
  // `secret:a` is not named by `secret:a:b`
  const ends = (after: string) => !/^[\w:-]/u.test(after);
  return [...textsOf({ ...chunk.params })].some((text) => text.split(reference).slice(1).some(ends));
}

/** The path of the key by the name of each volume that the pillar declares; none where that section is broken. */
function volumeKeys(pillar: JsonObject): ReadonlyMap<string, string> {
  try {
    return new Map(readVolumes(pillar).flatMap((volume) => [[volume.name, keyPathOf(volume) ?? ""]]));
  } catch (error) {
    if (error instanceof ConfigError) return new Map();
    throw error;
  }
}

/** Which states of a host's highstate name which of its secrets. */
export async function secretUses(
  source: SlsSource,
  id: string,
  grains: JsonObject,
  { pillar, secrets }: CompiledPillar,
): Promise<SecretUses> {
  if ((await source.read("top.sls")) === undefined) return null;
  const { STATES } = await import("../../states/registry.ts");
  const compiled = await compile({ kind: "highstate" }, source, { id, grains, pillar }, catalogueOf(STATES));
  if (compiled.kind === "errors") return null;
  const keys = volumeKeys(pillar);
  // a state of a whole volume takes its layers, the key among them, from the pillar by the volume's name alone
  const brings = ({ state, name }: LowChunk, path: string) => state === "volume" && keys.get(name) === path;
  const users = (path: string) =>
    compiled.chunks
      .filter((chunk) => names(chunk, `secret:${path}`) || brings(chunk, path))
      .map(({ state, fun, name }) => `${state}.${fun} ${name}`);
  return new Map([...secrets.keys()].map((path) => [path, users(path)]));
}
