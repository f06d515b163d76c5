import { countRecipients, isAgeText, recipientSetId } from "../../core/age-recipients.ts";
import { ConfigError } from "../../core/errors.ts";
import type { Lane } from "../../core/lane.ts";
import { Secret } from "../../core/secret.ts";
import type { SecretChanged, SecretSet } from "../../core/secrets-api.ts";
import { type CompiledPillar, hostFilePath } from "../../pillar/compile.ts";
import { quoteYaml, secretPlaces } from "../../pillar/edit-text.ts";
import { placeValue } from "../../pillar/place-value.ts";
import { readHostFile, replaceHostFile } from "../pillar-edit-file.ts";
import type { SecretVersions } from "../secret-versions.ts";
import type { GuardPillar, RecordAct } from "./record.ts";

/** What replacing a secret rests on: nothing of it can open one, apart from `guard` where a volume depends on it. */
export interface SetOptions {
  /** The first pillar root. */
  readonly root: string;
  readonly versions: Pick<SecretVersions, "escrow" | "keepSealed" | "list" | "recipients">;
  readonly lane: Lane;
  /** The host's pillar with another text as its own file; throws ConfigError. */
  readonly compileWith: (id: string, text: string) => Promise<CompiledPillar>;
  readonly guard: GuardPillar;
  readonly record: RecordAct;
}

/**
 * Puts ciphertext into a host's own pillar file. Neither it nor any other secret is opened, unless it is the key of a
 * provisioned volume: then the guard compares it with the one that was proven. What stood there before is kept
 * in the store (I3): ciphertext as it is, plain text encrypted. Throws ConfigError `wrong-recipients`, `not-placed`, and as compiling does: then nothing is
 * changed.
 */
export async function setSecret(options: SetOptions, id: string, change: SecretSet): Promise<SecretChanged> {
  const { root, versions, record } = options;
  const { path, armored, force = false } = change;
  const wanted = new Set(versions.recipients).size;
  const isStale = change.set !== undefined && change.set !== recipientSetId(versions.recipients);
  if (isStale || countRecipients(armored) !== wanted) {
    throw new ConfigError("wrong-recipients", `cannot set "${path}": it is not encrypted to all ${wanted} recipients`, {
      hint: "the recipients may have changed meanwhile: try again",
    });
  }
  const file = hostFilePath(id);
  return options.lane.run(async () => {
    const { text, revision } = await readHostFile(root, file);
    const changed = placeValue(text, file, path, `!secret ${quoteYaml(armored)}`);
    const compiled = await options.compileWith(id, changed);
    if (!compiled.secrets.has(path))
      throw new ConfigError("not-placed", `cannot set "${path}": that is no path of a secret`);
    await options.guard(id, compiled, { what: "secret set", force });
    const stored = await versions.list(id, path);
    const old = secretPlaces(text, file).find((place) => place.path === path)?.value;
    const kept = old === undefined ? [] : await keepOld(versions, id, path, old);
    await record("secret-set", id, { secrets: [path], file });
    await replaceHostFile(root, file, changed);
    const warning = `"${path}" has been leased: a volume formatted with its old value opens with that value alone (it is kept)`;
    return {
      file: revision === "" ? `${file} (new)` : file,
      warnings: [...kept, ...(stored.length > 0 ? [warning] : [])],
    };
  });
}

/** Keeps what leaves the file, and says what is odd about it. Plain text may be the very passphrase of a volume: it is kept too. */
async function keepOld(
  versions: SetOptions["versions"],
  id: string,
  path: string,
  old: string,
): Promise<readonly string[]> {
  if (isAgeText(old)) {
    await versions.keepSealed(id, path, old);
    return [];
  }
  if (old === "") return [];
  using plain = Secret.take(Buffer.from(old));
  const { version } = await versions.escrow(id, path, plain);
  return [
    `"${path}" stood there in plain text: it is kept encrypted, as version ${version}, but whoever read the file, a copy of it or its history knows it`,
  ];
}
