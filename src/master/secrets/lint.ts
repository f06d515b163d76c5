import { countRecipients, isAgeText, recipientSetId } from "../../core/age-recipients.ts";
import { ConfigError, errorMessage, ProtocolError } from "../../core/errors.ts";
import type { LintFinding, LintReport } from "../../core/secrets-api.ts";
import { type CompiledPillar, hostFilePath } from "../../pillar/compile.ts";
import { plainKeyMaterial, plainKeysIn } from "../../pillar/plain-key-material.ts";
import { sealedPlaces } from "../../pillar/sealed-places.ts";
import { readHostFile } from "../pillar-edit-file.ts";
import type { SecretVersions } from "../secret-versions.ts";
import { volumesMistake } from "../volumes/declared.ts";
import type { Store } from "../store/store.ts";
import { hostsWithFile } from "./list.ts";
import { listPillarFiles } from "./pillar-files.ts";
import { recordedSet, REKEY_JOURNAL, REKEY_SET, type SealedHeaders } from "./rekey.ts";
import type { SecretUses } from "./uses.ts";

/** What looking for mistakes rests on. */
export interface LintOptions {
  readonly store: Store;
  readonly versions: SecretVersions;
  readonly headers?: Pick<SealedHeaders, "sealed">;
  readonly roots: readonly string[];
  /** Whether the master itself can open armored text. */
  readonly opens: (armored: string) => boolean;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  /** The host's pillar if it said something else in each of its grains. */
  readonly compileOtherwise: (id: string) => Promise<CompiledPillar>;
  readonly uses: (id: string, pillar: CompiledPillar) => Promise<SecretUses>;
  /** How many identities of the master's own are kept that it replaced. */
  readonly olderIdentities: () => number;
  /** What to tell of trees that others can change. */
  readonly sharedTrees: () => readonly string[];
  /** Accepted minions. */
  readonly ids: () => readonly string[];
}

const NOWHERE = { id: "", file: "", line: 0 };
const REKEY = "run `latchkey secret rekey`";

/** Everything that is wrong with pillar and secrets and can be seen without a host; opens secrets, tells none. */
export async function lintPillar(options: LintOptions): Promise<LintReport> {
  const accepted = new Set(options.ids());
  const ids = [...new Set([...accepted, ...(await hostsWithFile(options.roots[0] ?? ""))])].sort();
  const findings: LintFinding[] = options
    .sharedTrees()
    .map((message) => ({ kind: "shared-tree", ...NOWHERE, message }));
  for (const id of ids) findings.push(...(await lintHost(options, id, accepted.has(id))));
  findings.push(...(await lintFiles(options)), ...(await lintStore(options)));
  return { findings };
}

async function lintHost(options: LintOptions, id: string, accepted: boolean): Promise<readonly LintFinding[]> {
  let pillar: CompiledPillar;
  try {
    pillar = await options.compile(id);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { file, line } = error.facts;
    const place = { file: typeof file === "string" ? file : "", line: typeof line === "number" ? line : 0 };
    return [{ kind: "broken-pillar", id, ...place, message: error.message }];
  }
  const findings: LintFinding[] = [];
  if (accepted && Object.keys(pillar.pillar).length === 0) {
    const message = "no pillar covers this host: neither top.sls nor a file of its own";
    findings.push({ kind: "host-without-pillar", ...NOWHERE, id, message });
  }
  const mistake = volumesMistake(pillar.pillar);
  if (mistake !== undefined) findings.push({ kind: "broken-pillar", ...NOWHERE, id, message: mistake });
  const uses = pillar.secrets.size === 0 ? null : await options.uses(id, pillar);
  // whose states do not compile has a mistake of another kind, which an apply tells; without a top.sls nobody can say
  for (const [path, { file, line }] of uses === null ? [] : pillar.secrets) {
    if ((uses?.get(path) ?? []).length > 0) continue;
    findings.push({ kind: "unused-secret", id, file, line, message: `no state of its highstate uses "${path}"` });
  }
  findings.push(...(await byGrains(options, id, pillar)));
  const file = hostFilePath(id);
  const own = plainKeyMaterial((await readAny(options.roots[0] ?? "", file)) ?? "", file);
  for (const path of plainKeysIn(pillar.pillar)) {
    const line = own.find((each) => each.path === path)?.line ?? 0;
    const message = `"${path}" is in plain text and looks like key material; write !secret before the value`;
    findings.push({ kind: "plain-key-material", id, file: line === 0 ? "" : file, line, message });
  }
  return findings;
}

/** Secrets that a host has because of its grains: another host that is taken over claims the same ones, and has them too. */
async function byGrains(
  { compileOtherwise }: LintOptions,
  id: string,
  { secrets }: CompiledPillar,
): Promise<readonly LintFinding[]> {
  if (secrets.size === 0) return [];
  try {
    const otherwise = (await compileOtherwise(id)).secrets;
    return [...secrets]
      .filter(([path]) => !otherwise.has(path))
      .map(([path, { file, line }]) => {
        const message = `"${path}" is given by grains, which any accepted host can claim: target by id, or put it in the host's own file`;
        return { kind: "secret-by-grain", id, file, line, message };
      });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const message =
      "its pillar does not compile with other grains, so they may decide over its secrets: any accepted host can claim them";
    return [{ kind: "secret-by-grain", ...NOWHERE, id, message }];
  }
}

/** Ciphertext of pillar files that the master or a recovery identity cannot open. */
async function lintFiles({ roots, versions, opens }: LintOptions): Promise<readonly LintFinding[]> {
  const wanted = new Set(versions.recipients).size;
  const findings: LintFinding[] = [];
  const { files, unclear, outside } = await listPillarFiles(roots);
  for (const { name, reason } of outside) {
    const message = `${reason}: no pillar comes from there, and a rekey passes it by`;
    findings.push({ kind: "not-understood", id: "", file: name, line: 0, message });
  }
  for (const { name, reason } of unclear) {
    findings.push({ kind: "not-understood", id: "", file: name, line: 0, message: `${reason}: a rekey passes it by` });
  }
  for (const { root, path } of files) {
    const text = await readAny(root, path);
    const places = text === undefined ? undefined : sealedPlaces(text, path);
    if (!places) {
      const message = `not understood: a rekey passes it by; ciphertext in a template goes in one line, and text is UTF-8`;
      findings.push({ kind: "not-understood", id: "", file: path, line: 0, message });
    }
    for (const { value, line } of places ?? []) {
      const why = missing(value, wanted, opens);
      if (why) findings.push({ kind: "missing-recipient", id: "", file: path, line, message: why });
    }
  }
  return findings;
}

/** A file's text; undefined when it has none that could be read as such. */
async function readAny(root: string, path: string): Promise<string | undefined> {
  try {
    return (await readHostFile(root, path)).text;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

function missing(armored: string, wanted: number, opens: LintOptions["opens"]): string | undefined {
  try {
    const count = countRecipients(armored);
    if (!opens(armored)) return "the master cannot open this secret: it is not encrypted to it";
    return count === wanted ? undefined : `encrypted to ${count} recipients, not to all ${wanted}: ${REKEY}`;
  } catch (error) {
    if (error instanceof ProtocolError) return errorMessage(error);
    throw error;
  }
}

async function lintStore(options: LintOptions): Promise<readonly LintFinding[]> {
  const { store, versions, headers, olderIdentities } = options;
  const set = recipientSetId(versions.recipients);
  const wanted = new Set(versions.recipients).size;
  const findings: LintFinding[] = [];
  for await (const { id, path, version } of versions.all()) {
    if (!isAgeText(version.armored)) {
      const message = `version ${version.version} of "${path}" in the store is no age ciphertext, so it is damaged or plain text: restart the master, which encrypts plain text, and look at its log`;
      findings.push({ kind: "not-encrypted", ...NOWHERE, id, message });
      continue;
    }
    const right = version.recipients === "" ? countRecipients(version.armored) === wanted : version.recipients === set;
    if (right) continue;
    const message = `version ${version.version} of "${path}" in the store is not encrypted to the recipients of now: ${REKEY}`;
    findings.push({ kind: "missing-recipient", ...NOWHERE, id, message });
  }
  for (const { id, volume, version, isRight } of (await headers?.sealed()) ?? []) {
    if (isRight) continue;
    const message = `header ${version} of volume "${volume}" in escrow is not known to be encrypted to the recipients of now: ${REKEY}`;
    findings.push({ kind: "missing-recipient", ...NOWHERE, id, message });
  }
  if ((await recordedSet(store, REKEY_JOURNAL)) !== undefined) {
    findings.push({ kind: "rekey-unfinished", ...NOWHERE, message: `a rekey was interrupted: ${REKEY}` });
  }
  if (olderIdentities() > 0) {
    const message = "the identity that was replaced is still kept: `latchkey secret rekey --drop-old` destroys it";
    findings.push({ kind: "older-identity", ...NOWHERE, message });
  }
  const last = await recordedSet(store, REKEY_SET);
  if (last !== undefined && last !== set) {
    const message = `the recipients changed since everything was last encrypted: ${REKEY}`;
    findings.push({ kind: "missing-recipient", ...NOWHERE, message });
  }
  return findings;
}
