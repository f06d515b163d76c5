import { join } from "node:path";
import type { AgeIdentity } from "../../../src/core/age-identity.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { Secret } from "../../../src/core/secret.ts";
import { loadAgeIdentity } from "../../../src/master/age-identity-file.ts";
import { IdentityRing } from "../../../src/master/identity-ring.ts";
import { Lane } from "../../../src/core/lane.ts";
import { openSecrets } from "../../../src/master/secrets.ts";
import { dropIdentities, renewIdentity } from "../../../src/master/secrets/identity.ts";
import { rekey } from "../../../src/master/secrets/rekey.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import { vaultOf } from "../../../src/master/volumes/vault.ts";

/** scrypt's cost in tests. */
export const WORK_FACTOR = 4;

/** Gives the passphrase again and again. */
export const asking = (word: string) => async () => Secret.take(Buffer.from(word));

/** Replaces the identity of a directory (`age.key`, `store.db`, `pillar/`) as a master does, and destroys the old one. */
export async function replaceIdentity(
  directory: string,
  word: string,
  note: (act: string) => void,
  reached: () => void,
): Promise<void> {
  const file = join(directory, "age.key");
  const store = new SqliteStore(join(directory, "store.db"));
  const ring = new IdentityRing(await loadAgeIdentity(file, store, systemClock, asking(word)));
  using secrets = openSecrets({ store, identity: ring, recoveryRecipients: [], clock: systemClock });
  const desk = {
    reached,
    workFactor: WORK_FACTOR,
    file,
    ring,
    store,
    versions: secrets.versions,
    roots: [join(directory, "pillar")],
    lane: new Lane(),
    clock: systemClock,
    record: async (kind: string, _id: string, data: object) => {
      note(`${kind} ${"phase" in data ? String(data.phase) : ""}`);
      reached();
    },
    vaultWith: (identity: AgeIdentity) => vaultOf(secrets, identity),
  };
  using passphrase = word === "" ? undefined : await asking(word)();
  await renewIdentity(desk, passphrase);
  const { failed } = await rekey({ ...desk, identity: ring });
  if (failed.length > 0) throw new Error(failed.map(({ reason }) => reason).join());
  await dropIdentities(desk, passphrase);
  await store.close();
}
