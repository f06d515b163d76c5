import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../../core/errors.ts";
import { MINION_ID } from "../../core/ids.ts";
import type { SecretEntry, SecretList } from "../../core/secrets-api.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import type { SecretVersions } from "../secret-versions.ts";
import type { SecretUses } from "./uses.ts";

/** What a list of secrets rests on. */
export interface ListOptions {
  readonly root: string;
  readonly versions: Pick<SecretVersions, "all">;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  /** States that name each path; null when that cannot be told. */
  readonly uses: (id: string, pillar: CompiledPillar) => Promise<SecretUses>;
  /** Accepted minions. */
  readonly ids: () => readonly string[];
}

/** Ids that have a pillar file of their own, sorted. */
export async function hostsWithFile(root: string): Promise<readonly string[]> {
  try {
    const names = await readdir(join(root, "hosts"));
    const ids = names.filter((name) => name.endsWith(".yaml")).map((name) => name.slice(0, -".yaml".length));
    return ids.filter((id) => MINION_ID.test(id) && !id.includes("..")).sort();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

/** How many versions are stored, by id and path. */
async function countVersions(versions: ListOptions["versions"], host: string | undefined) {
  const counts = new Map<string, Map<string, number>>();
  for await (const { id, path } of versions.all()) {
    if (host !== undefined && id !== host) continue;
    const paths = counts.get(id) ?? new Map<string, number>();
    counts.set(id, paths.set(path, (paths.get(path) ?? 0) + 1));
  }
  return counts;
}

/** Every secret that a pillar names or the store keeps, of one host or of all, sorted; values stay closed. */
export async function listSecrets(options: ListOptions, host?: string): Promise<SecretList> {
  const counts = await countVersions(options.versions, host);
  const known = [...options.ids(), ...(await hostsWithFile(options.root)), ...counts.keys()];
  const ids = host === undefined ? [...new Set(known)].sort() : [host];
  const secrets: SecretEntry[] = [];
  const broken: { id: string; reason: string }[] = [];
  for (const id of ids) {
    const stored = counts.get(id) ?? new Map<string, number>();
    let named: readonly SecretEntry[] = [];
    try {
      named = await namedSecrets(options, id, stored);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      broken.push({ id, reason: error.message });
    }
    const kept = [...stored]
      .filter(([path]) => !named.some((entry) => entry.path === path))
      .map(([path, versions]) => ({ id, path, kind: "kept" as const, file: "", line: 0, versions, usedBy: [] }));
    secrets.push(...[...named, ...kept].toSorted((a, b) => (a.path < b.path ? -1 : 1)));
  }
  return { secrets, broken };
}

async function namedSecrets(
  options: ListOptions,
  id: string,
  stored: ReadonlyMap<string, number>,
): Promise<readonly SecretEntry[]> {
  const pillar = await options.compile(id);
  const uses = pillar.secrets.size === 0 ? new Map<string, readonly string[]>() : await options.uses(id, pillar);
  return [...pillar.secrets].map(([path, { kind, file, line }]) => ({
    id,
    path,
    kind,
    file,
    line,
    versions: stored.get(path) ?? 0,
    usedBy: uses?.get(path) ?? (uses === null ? null : []),
  }));
}
