import type { JsonObject } from "../core/json.ts";
import { compile, type Wanted } from "../sls/compile.ts";
import type { SlsSource } from "../sls/low.ts";
import { catalogueOf } from "../states/validate.ts";
import { volumesMistake } from "./volumes/declared.ts";

/** Whose states to try, with what the master knows of it. */
export interface CompileSubject {
  readonly id: string;
  readonly grains: JsonObject;
  readonly pillar: JsonObject;
}

/**
 * Every mistake in the volumes that a minion's pillar declares, and in its states, a line each with file and line number: rendered, compiled and checked against
 * the states that exist, as the minion itself would; [] when all is well. Without a `top.sls` no states are chosen.
 */
export async function compileForMinion(
  source: SlsSource,
  { id, grains, pillar }: CompileSubject,
  wanted: Wanted = { kind: "highstate" },
): Promise<readonly string[]> {
  const mistake = volumesMistake(pillar);
  const volumes = mistake === undefined ? [] : [mistake];
  if (wanted.kind === "highstate" && (await source.read("top.sls")) === undefined) return volumes;
  // late: the states are needed here alone, and a master that serves keys starts without them
  const { STATES } = await import("../states/registry.ts");
  const compiled = await compile(wanted, source, { id, grains, pillar }, catalogueOf(STATES));
  return [...volumes, ...(compiled.kind === "errors" ? compiled.errors.map(({ message }) => message) : [])];
}
