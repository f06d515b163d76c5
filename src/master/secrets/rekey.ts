import { decryptAge } from "../../core/age-decrypt.ts";
import type { AgeIdentity } from "../../core/age-identity.ts";
import { recipientSetId } from "../../core/age-recipients.ts";
import type { Clock } from "../../core/clock.ts";
import { sha256 } from "../../core/crypto/hash.ts";
import { ConfigError, errorMessage, HostError, LatchkeyError } from "../../core/errors.ts";
import type { Lane } from "../../core/lane.ts";
import { z } from "../../core/schema.ts";
import type { RekeyReport } from "../../core/secrets-api.ts";
import { replaceSealed, sealedPlaces } from "../../pillar/sealed-places.ts";
import { readHostFile, replaceHostFile } from "../pillar-edit-file.ts";
import type { Headers, SealedHeader } from "../volumes/headers.ts";
import { type StoredVersion, versionSchema } from "../secret-version.ts";
import type { SecretVersions } from "../secret-versions.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { listPillarFiles, type PillarFileEntry } from "./pillar-files.ts";
import type { RecordAct } from "./record.ts";
import { sealProven } from "./seal-proven.ts";

/** Points that a run passes; killed at any of them, every value is still there, and the next run goes on. */
export type RekeyPoint = "started" | "sealed" | "switched" | "marked" | "finished";

/** Headers in escrow, as far as encrypting them anew goes. */
export type SealedHeaders = Pick<Headers, "sealed" | "sealAnew">;

/** What encrypting everything anew rests on. */
export interface RekeyOptions {
  readonly store: Store;
  readonly identity: AgeIdentity;
  readonly versions: SecretVersions;
  readonly headers?: SealedHeaders;
  readonly roots: readonly string[];
  readonly lane: Lane;
  readonly clock: Clock;
  readonly record: RecordAct;
  /** Called at each point: where tests end the process. */
  readonly reached?: (point: RekeyPoint) => void;
}

/** Set while a run is under way, or was interrupted. */
export const REKEY_JOURNAL = "rekey/journal";
/** The set of recipients that everything was last encrypted to. */
export const REKEY_SET = "rekey/set";
const setSchema = z.object({ set: z.string(), at: z.number() });
const markSchema = z.object({ set: z.string(), revision: z.string() });

/** The name of the set that a record of the two keys above holds; undefined when there is none. */
export async function recordedSet(store: Store, key: string): Promise<string | undefined> {
  const entry = await store.get(key);
  return entry && decodeRecord(setSchema, entry).set;
}

interface Run extends RekeyOptions {
  readonly set: string;
  readonly rekeyed: string[];
  readonly failed: { name: string; reason: string }[];
  already: number;
}

/**
 * Encrypts every stored version, every `!secret` of the pillar roots and every LUKS header in escrow to the recipients of now. Each is written beside the
 * old one, opened and compared, and only then takes its place in one step. What cannot be opened stays as it is and is
 * named. A run that was killed is taken up where it was: done are versions that carry the new set's name, and files
 * that the store has marked with it. Throws when the store or the audit log cannot be written.
 */
export async function rekey(options: RekeyOptions): Promise<RekeyReport> {
  const { store, versions, clock, record, reached } = options;
  const { recipients } = versions;
  const set = recipientSetId(recipients);
  const run: Run = { ...options, set, rekeyed: [], failed: [], already: 0 };
  const resumed = (await recordedSet(store, REKEY_JOURNAL)) === set;
  await record("secrets-rekeyed", "", { phase: resumed ? "resumed" : "started", recipients });
  await store.write([putRecord(REKEY_JOURNAL, { set, at: clock.now() })]);
  reached?.("started");
  for await (const stored of versions.all())
    await attempt(run, stored.entry.key, async () => rekeyVersion(run, stored));
  const { files, unclear, outside } = await listPillarFiles(options.roots);
  run.failed.push(...unclear);
  for (const file of files) {
    await attempt(run, `${file.root}/${file.path}`, async () => options.lane.run(async () => rekeyFile(run, file)));
  }
  for (const header of (await options.headers?.sealed()) ?? [])
    await attempt(run, nameOf(header), async () => rekeyHeader(run, header));
  const { rekeyed, failed, already } = run;
  await record("secrets-rekeyed", "", { phase: "finished", rekeyed: rekeyed.length, already, failed: failed.length });
  const done = failed.length === 0 ? [putRecord(REKEY_SET, { set, at: clock.now() })] : [];
  await store.write([{ op: "delete", key: REKEY_JOURNAL }, ...done]);
  reached?.("finished");
  return { recipients, resumed, rekeyed, already, failed, outside };
}

/** One item; a mistake in it (damaged, of another master) is noted, a store or disk that fails ends the run. */
async function attempt(run: Run, name: string, act: () => Promise<"rekeyed" | "already" | "nothing">): Promise<void> {
  try {
    const outcome = await act();
    if (outcome === "rekeyed") run.rekeyed.push(name);
    if (outcome === "already") run.already += 1;
  } catch (error) {
    if (!(error instanceof LatchkeyError) || error instanceof HostError) throw error;
    run.failed.push({ name, reason: errorMessage(error) });
  }
}

async function rekeyVersion(run: Run, { entry, id, path, version }: StoredVersion) {
  const { store, identity, set, versions, reached } = run;
  if (version.recipients === set) return "already";
  using plain = decryptAge(version.armored, identity);
  const armored = await sealProven(plain, versions.recipients, identity);
  reached?.("sealed");
  const next = { ...version, armored, recipients: set, digest: versions.digest(id, path, plain) };
  const result = await store.write([putRecord(entry.key, next, { ifRevision: entry.revision })]);
  if (result.kind === "conflict") {
    throw new ConfigError("rekey-conflict", "it was changed meanwhile: run it again");
  }
  reached?.("switched");
  const back = await store.get(entry.key);
  if (!back || decodeRecord(versionSchema, back).armored !== armored) {
    await store.write([putRecord(entry.key, version)]);
    throw new HostError("rekey-failed", `cannot rely on the store: "${entry.key}" does not read back`);
  }
  return "rekeyed";
}

const nameOf = ({ id, volume, version }: SealedHeader) => `header ${version} of ${id}/${volume}`;

async function rekeyHeader({ headers, reached }: Run, header: SealedHeader) {
  if (headers === undefined || header.isRight) return "already";
  return headers.sealAnew(header, {
    written: () => reached?.("sealed"),
    switched: () => reached?.("switched"),
  });
}

const markKey = ({ root, path }: PillarFileEntry) =>
  `rekey/file/${sha256(Buffer.from(`${root}\n${path}`)).toString("hex")}`;

async function rekeyFile(run: Run, file: PillarFileEntry) {
  const { store, identity, set, versions, reached } = run;
  const { root, path, access } = file;
  const { text, revision } = await readHostFile(root, path);
  const places = sealedPlaces(text, path);
  if (!places)
    throw new ConfigError("not-understood", "it is a template with ciphertext in blocks: put it in one line");
  if (places.length === 0) return "nothing";
  const marked = await store.get(markKey(file));
  const mark = marked && decodeRecord(markSchema, marked);
  if (mark?.set === set && mark.revision === revision) return "already";
  const armored = new Map<string, string>();
  for (const { value } of places) {
    using plain = decryptAge(value, identity);
    armored.set(value, await sealProven(plain, versions.recipients, identity));
  }
  reached?.("sealed");
  const next = replaceSealed(text, path, places, (value) => armored.get(value) ?? value);
  if (next === undefined) {
    throw new ConfigError("not-understood", 'it would say something else: write each secret as `!secret "..."`');
  }
  if ((await readHostFile(root, path)).revision !== revision) {
    throw new ConfigError("rekey-conflict", "it was changed meanwhile: run it again");
  }
  await replaceHostFile(root, path, next, access);
  reached?.("switched");
  const written = await readHostFile(root, path);
  await store.write([putRecord(markKey(file), { set, revision: written.revision })]);
  reached?.("marked");
  return "rekeyed";
}
