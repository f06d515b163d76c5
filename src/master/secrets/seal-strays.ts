import type { AgeIdentity } from "../../core/age-identity.ts";
import { isAgeText, recipientSetId } from "../../core/age-recipients.ts";
import type { Clock } from "../../core/clock.ts";
import { z } from "../../core/schema.ts";
import { Secret } from "../../core/secret.ts";
import type { StoredVersion } from "../secret-version.ts";
import type { SecretVersions } from "../secret-versions.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { sealProven } from "./seal-proven.ts";

/** What encrypting strays rests on. */
export interface StrayOptions {
  readonly store: Pick<Store, "get" | "scrub" | "write">;
  readonly versions: Pick<SecretVersions, "all" | "digest" | "recipients">;
  readonly identity: AgeIdentity;
  readonly clock: Clock;
}

/** How far it came: `sealing` until no page of the store has any of the plain text left. */
export const STRAYS = "strays";
const strayMark = z.object({ phase: z.enum(["sealing", "done"]), at: z.number() });

/**
 * Encrypts what stands in the store as plain text where ciphertext belongs: older versions of `secret set` kept there what they found behind
 * `!secret`. Tells which versions they were. It is looked for once in the life of a store, and gone on with after a kill; backups that
 * were made before keep what they have. Throws HostError when the store cannot be written.
 */
export async function sealStrays(options: StrayOptions): Promise<readonly string[]> {
  const { store, versions, clock } = options;
  const entry = await store.get(STRAYS);
  let phase = entry && decodeRecord(strayMark, entry).phase;
  if (phase === "done") return [];
  const mark = async (next: "sealing" | "done") => {
    await store.write([putRecord(STRAYS, { phase: next, at: clock.now() })]);
    phase = next;
  };
  const sealed: string[] = [];
  for await (const stray of versions.all()) {
    if (isAgeText(stray.version.armored)) continue;
    if (phase !== "sealing") await mark("sealing");
    // changed meanwhile by another master: looked at again at the next start
    if (!(await seal(options, stray))) return sealed;
    sealed.push(`version ${stray.version.version} of "${stray.path}" of ${stray.id}`);
  }
  if (phase === "sealing") await store.scrub();
  await mark("done");
  return sealed;
}

/** False when it is another record by now. */
async function seal({ store, versions, identity }: StrayOptions, stray: StoredVersion): Promise<boolean> {
  const { entry, id, path, version } = stray;
  const { recipients } = versions;
  using plain = Secret.take(Buffer.from(version.armored));
  const next = {
    ...version,
    armored: await sealProven(plain, recipients, identity),
    digest: versions.digest(id, path, plain),
    recipients: recipientSetId(recipients),
  };
  const { kind } = await store.write([putRecord(entry.key, next, { ifRevision: entry.revision })]);
  return kind !== "conflict";
}
