import { AuthError, ConfigError } from "../../core/errors.ts";
import type { SecretHistory, SecretShow, SecretShown } from "../../core/secrets-api.ts";
import { countRecipients, isAgeText } from "../../core/age-recipients.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { currentOf } from "../secret-version.ts";
import type { Secrets } from "../secrets.ts";
import type { RecordAct } from "./record.ts";

/** What showing a secret rests on. */
export interface ShowOptions {
  readonly secrets: Pick<Secrets, "open" | "history">;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly record: RecordAct;
  /** `allow_secret_show` of the configuration: a permission of its own, beside the control socket. */
  readonly allowed: boolean;
}

const noSuch = (id: string, path: string, why: string) =>
  new ConfigError("no-such-secret", `cannot find "${path}" of "${id}": ${why}`, {
    hint: `see all with \`latchkey secret list ${id}\``,
  });

/**
 * A secret's value in plain. That it is shown is on disk in the audit log before it leaves (as I4 for leases); refused, that
 * is recorded too. Throws AuthError `show-not-allowed`, ConfigError `no-such-secret`, ProtocolError when it cannot be opened.
 */
export async function showSecret(
  options: ShowOptions,
  id: string,
  { path, version }: SecretShow,
): Promise<SecretShown> {
  const { secrets, record } = options;
  const data = { secrets: [path], file: "", version: version ?? null };
  if (!options.allowed) {
    await record("secret-show-denied", id, data);
    throw new AuthError("show-not-allowed", `cannot show "${path}" of "${id}": this master shows no secrets`, {
      hint: "set `allow_secret_show: true` in the master's configuration and restart it to permit this",
    });
  }
  using secret = secrets.open(await ciphertextOf(options, id, path, version));
  await record("secret-shown", id, data);
  return { value: secret.expose().toString("base64") };
}

async function ciphertextOf(
  { secrets, compile }: ShowOptions,
  id: string,
  path: string,
  version: number | undefined,
): Promise<string> {
  const stored = await secrets.history(id, path);
  if (version !== undefined) {
    const found = stored.find((each) => each.version === version);
    if (!found) throw noSuch(id, path, `it has no version ${version}`);
    return found.armored;
  }
  const node = (await compile(id)).secrets.get(path);
  if (!node) throw noSuch(id, path, "its pillar names no such secret");
  if (node.kind === "secret") return node.armored;
  const current = currentOf(stored);
  if (!current) throw noSuch(id, path, "it is made when a volume is formatted with it");
  return current.armored;
}

/** Every stored version, without values. Throws ConfigError `no-such-secret` when the pillar names none either. */
export async function secretHistory(
  { secrets, compile }: Pick<ShowOptions, "secrets" | "compile">,
  id: string,
  path: string,
): Promise<SecretHistory> {
  const stored = await secrets.history(id, path);
  // a pillar that is broken must not hide what the store has
  const node = stored.length > 0 ? await nodeOf(compile, id, path) : (await compile(id)).secrets.get(path);
  if (!node && stored.length === 0) throw noSuch(id, path, "neither its pillar nor the store has it");
  const current = node?.kind === "generate" ? currentOf(stored)?.version : undefined;
  return {
    versions: stored.map(({ version, origin, createdAt, armored }) => ({
      version,
      origin,
      createdAt,
      // 0: damaged; the rest of the history is there all the same
      recipients: isAgeText(armored) ? countRecipients(armored) : 0,
      current: version === current,
    })),
  };
}

async function nodeOf(compile: ShowOptions["compile"], id: string, path: string) {
  try {
    return (await compile(id)).secrets.get(path);
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}
