import type { JobRequest } from "../../core/control-api.ts";
import { ConfigError, LatchkeyError } from "../../core/errors.ts";
import type { JsonObject } from "../../core/json.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { targetMatcher } from "../../sls/target.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import type { Volumes } from "./volumes.ts";

/** What is locked or unlocked of one host; `path` null for every secret. */
export interface LockedSecret {
  readonly id: string;
  readonly path: string | null;
  readonly volume: string;
}

/** What locking rests on. */
export interface LockJobsOptions {
  readonly volumes: Pick<Volumes, "get">;
  readonly acceptedIds: () => readonly string[];
  readonly grainsOf: (id: string) => JsonObject;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly lock: (secrets: readonly LockedSecret[], by: string) => Promise<void>;
  readonly unlock: (secrets: readonly LockedSecret[], by: string) => Promise<void>;
}

/**
 * Before a `volume.lock` job is published: holds every further lease of what it names, durably; before a `volume.unlock`:
 * lifts that. Whoever is offline stays locked by the hold. Throws ConfigError `no-volume` when nothing that it
 * names is known, `bad-arguments` for anything else than names: nothing is changed then.
 */
export async function lockBeforeJob(options: LockJobsOptions, request: JobRequest): Promise<void> {
  const { fun, pushed } = request;
  if (fun !== "volume.lock" && fun !== "volume.unlock") return;
  const by = pushed?.statement.operator ?? "root";
  const secrets = await namedSecrets(options, request);
  await (fun === "volume.lock" ? options.lock(secrets, by) : options.unlock(secrets, by));
}

async function namedSecrets(
  options: LockJobsOptions,
  { target, args, kwargs }: JobRequest,
): Promise<readonly LockedSecret[]> {
  const matches = targetMatcher(target.kind, target.expr);
  const ids = options.acceptedIds().filter((id) => matches({ id, grains: options.grainsOf(id), pillar: {} }));
  const names = namesIn(args, kwargs);
  if (names.length === 0) return ids.map((id) => ({ id, path: null, volume: "" }));
  const all = await Promise.all(ids.map(async (id) => pathsOf(options, id, names)));
  const found = all.flat();
  const missing = names.find((name) => !found.some(({ volume }) => volume === name));
  if (missing === undefined || ids.length === 0) return found;
  throw new ConfigError("no-volume", `cannot lock volume "${missing}": no host of the target has it`, {
    hint: "leave the name out to lock everything of the hosts",
  });
}

/**
 * The names that a job was given. No name means everything of a host, so whatever might have been meant as one and is none
 * is refused.
 */
function namesIn(args: JobRequest["args"], { names = [], ...others }: JsonObject): readonly string[] {
  const given: unknown[] = Array.isArray(names) ? [...args, ...names] : [names];
  const listed = given.filter((name) => typeof name === "string");
  const [other] = Object.keys(others);
  if (other === undefined && Array.isArray(names) && listed.length === given.length) return listed;
  const what = other === undefined ? `${JSON.stringify(names)} as names` : `the argument "${other}"`;
  throw new ConfigError("bad-arguments", `cannot lock or unlock with ${what}`, {
    hint: "give the names of volumes as words, or a list of them as `names`",
  });
}

/** Pillar paths of the keys of named volumes: as declared now, else as last reported. */
async function pathsOf(
  options: LockJobsOptions,
  id: string,
  names: readonly string[],
): Promise<readonly LockedSecret[]> {
  let declared: ReturnType<typeof readVolumes> = [];
  try {
    declared = readVolumes((await options.compile(id)).pillar);
  } catch (error) {
    // a broken pillar must not keep a host from being locked: the host's last word does
    if (!(error instanceof LatchkeyError)) throw error;
  }
  return names.flatMap((volume) => {
    const spec = declared.find(({ name }) => name === volume);
    const reported = options.volumes.get(id, volume)?.keyPath;
    const paths = new Set([spec && keyPathOf(spec), reported].filter((path) => path !== undefined && path !== ""));
    return [...paths].map((path) => ({ id, path: path ?? null, volume }));
  });
}
