import { ConfigError } from "../../core/errors.ts";
import type { Lane } from "../../core/lane.ts";
import type { SecretImport, SecretImported } from "../../core/secrets-api.ts";
import { type CompiledPillar, hostFilePath } from "../../pillar/compile.ts";
import { placeValue } from "../../pillar/place-value.ts";
import { readHostFile, replaceHostFile } from "../pillar-edit-file.ts";
import type { Secrets } from "../secrets.ts";
import type { GuardPillar, RecordAct } from "./record.ts";

/** What moving a secret into the store rests on. */
export interface ImportOptions {
  readonly root: string;
  readonly secrets: Pick<Secrets, "open" | "versions">;
  readonly lane: Lane;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly compileWith: (id: string, text: string) => Promise<CompiledPillar>;
  readonly guard: GuardPillar;
  readonly record: RecordAct;
}

/**
 * Moves a `!secret` of a host's pillar into the store: the very same bytes, durable and read back (I1), then `!generate` in
 * the host's own file, so that leases go on as before and the disk is not touched. Killed in between, the pillar still has
 * the value; asked again it goes on. Throws ConfigError `no-such-secret`, `not-placed`, ProtocolError when it cannot be
 * opened, HostError when the store cannot keep it.
 */
export async function importSecret(
  options: ImportOptions,
  id: string,
  { path, force = false }: SecretImport,
): Promise<SecretImported> {
  const { root, secrets, record } = options;
  const file = hostFilePath(id);
  return options.lane.run(async () => {
    const node = (await options.compile(id)).secrets.get(path);
    if (node?.kind !== "secret") {
      const why = node ? "it is in the store already" : "its pillar names no such secret";
      throw new ConfigError("no-such-secret", `cannot import "${path}" of "${id}": ${why}`);
    }
    const { text } = await readHostFile(root, file);
    const changed = placeValue(text, file, path, "!generate");
    const compiled = await options.compileWith(id, changed);
    if (compiled.secrets.get(path)?.kind !== "generate") {
      throw new ConfigError("not-placed", `cannot import "${path}": "${file}" has no plain place for it`);
    }
    using secret = secrets.open(node.armored);
    if (secret.length === 0) throw new ConfigError("empty-secret", `cannot import "${path}": it is empty`);
    const { version } = await secrets.versions.import(id, path, secret);
    await options.guard(id, compiled, { what: "secret import", force });
    await record("secret-imported", id, { secrets: [path], file, version });
    await replaceHostFile(root, file, changed);
    const elsewhere = node.file === file ? [] : [`"${node.file}" still has it for others; "${file}" wins for "${id}"`];
    return { file, version, warnings: elsewhere };
  });
}
