import { decryptAge } from "../../core/age-decrypt.ts";
import type { AgeIdentity } from "../../core/age-identity.ts";
import type { Clock } from "../../core/clock.ts";
import { ConfigError, HostError, ProtocolError } from "../../core/errors.ts";
import type { Lane } from "../../core/lane.ts";
import type { Secret } from "../../core/secret.ts";
import type { IdentityDropped, IdentityFacts } from "../../core/secrets-api.ts";
import { sealedPlaces } from "../../pillar/sealed-places.ts";
import { addAgeIdentity, dropOlderIdentities, type IdentityChange, isLocked } from "../age-identity-file.ts";
import { type IdentityRing, newestOf } from "../identity-ring.ts";
import { readHostFile } from "../pillar-edit-file.ts";
import { copyOf } from "../secret-cache.ts";
import type { SecretVersions } from "../secret-versions.ts";
import type { Store } from "../store/store.ts";
import { HeaderStore, type StoredHeader } from "../volumes/header-store.ts";
import type { Vault } from "../volumes/vault.ts";
import { listPillarFiles } from "./pillar-files.ts";
import type { RecordAct } from "./record.ts";

/** What replacing the master's own identity rests on. */
export interface IdentityDesk extends IdentityChange {
  /** The identity file. */
  readonly file: string;
  readonly ring: IdentityRing;
  readonly store: Store;
  readonly versions: SecretVersions;
  readonly roots: readonly string[];
  /** Shared with the pillar editor. */
  readonly lane: Lane;
  readonly clock: Clock;
  readonly record: RecordAct;
  /** The vault as it would be with this identity alone. */
  readonly vaultWith: (identity: AgeIdentity) => Vault;
}

const recipientsOf = (identities: readonly AgeIdentity[]) => identities.map(({ recipient }) => recipient);

/** What is known of the identity, and whether a change will need the passphrase. */
export async function identityFacts({ file, ring }: Pick<IdentityDesk, "file" | "ring">): Promise<IdentityFacts> {
  return { recipient: ring.recipient, older: recipientsOf(ring.older), locked: await isLocked(file) };
}

/**
 * Makes a new identity, durable and read back, and uses it from then on; the one before stays in the file below it and
 * opens what is not encrypted anew. While an older one is there this does nothing: that replacement is to be finished.
 * Throws as `addAgeIdentity`, and when the audit log cannot be written.
 */
export async function renewIdentity(desk: IdentityDesk, passphrase?: Secret): Promise<void> {
  const { file, ring, clock, record, reached, workFactor } = desk;
  if (ring.older.length > 0) return;
  const next = await addAgeIdentity(file, ring, {
    passphrase: askerOf(passphrase),
    announce: async (recipient) =>
      record("identity-replaced", "", { phase: "made", recipient, older: [ring.recipient] }),
    created: new Date(clock.now()).toISOString(),
    reached,
    workFactor,
  });
  ring.renew(next);
}

/**
 * Destroys the older identities, once it is proven that the newest by itself opens all that they open: every stored version,
 * every `!secret` of the pillar roots, every header in escrow. Throws ConfigError `identity-needed`, which names what
 * still needs one, and as `dropOlderIdentities`.
 */
export async function dropIdentities(desk: IdentityDesk, passphrase?: Secret): Promise<IdentityDropped> {
  const { file, ring, lane, record, reached, workFactor } = desk;
  const dropped = recipientsOf(ring.older);
  if (dropped.length === 0) return { dropped };
  return lane.run(async () => {
    const needing = await needingOlder(desk);
    if (needing.length > 0) {
      const [first = "", ...more] = needing;
      const others = more.length === 0 ? "" : `, and ${more.length} more`;
      throw new ConfigError("identity-needed", `cannot destroy the older identity: it is needed by ${first}${others}`, {
        hint: "run `latchkey secret rekey`, which says what it cannot encrypt anew",
      });
    }
    await record("identity-replaced", "", { phase: "dropped", recipient: ring.recipient, older: dropped });
    ring.renew(await dropOlderIdentities(file, ring, { passphrase: askerOf(passphrase), reached, workFactor }));
    return { dropped };
  });
}

const askerOf = (passphrase: Secret | undefined) => passphrase && (async () => copyOf(passphrase));

/** Names of what an older identity opens and the newest does not, or of what cannot be looked into. */
async function needingOlder(desk: IdentityDesk): Promise<readonly string[]> {
  const { ring, store, versions, roots, vaultWith } = desk;
  const newest = newestOf(ring);
  const needing: string[] = [];
  const needs = (armored: string) => !opens(armored, newest) && opens(armored, ring);
  for await (const { entry, version } of versions.all()) if (needs(version.armored)) needing.push(entry.key);
  const { files, unclear } = await listPillarFiles(roots);
  needing.push(...unclear.map(({ name, reason }) => `${name} (perhaps: ${reason})`));
  for (const { root, path } of files) {
    const { text } = await readHostFile(root, path);
    const places = sealedPlaces(text, path);
    const name = `${root}/${path}`;
    if (!places) needing.push(`${name} (perhaps: it is a template with ciphertext in blocks)`);
    else if (places.some(({ value }) => needs(value))) needing.push(name);
  }
  const alone = new HeaderStore(store, vaultWith(newest));
  const all = new HeaderStore(store, vaultWith(ring));
  for (const header of await all.list()) {
    if ((await reads(alone, header)) || !(await reads(all, header))) continue;
    needing.push(`header ${header.version} of "${header.volume}" of "${header.id}"`);
  }
  return needing;
}

function opens(armored: string, identity: AgeIdentity): boolean {
  try {
    decryptAge(armored, identity).wipe();
    return true;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

/** A store that cannot be read is no proof of anything: that throws. */
async function reads(headers: HeaderStore, header: StoredHeader & { readonly id: string }): Promise<boolean> {
  try {
    (await headers.read(header.id, header)).fill(0);
    return true;
  } catch (error) {
    if (error instanceof ProtocolError || (error instanceof HostError && error.code === "header-not-durable")) {
      return false;
    }
    throw error;
  }
}
