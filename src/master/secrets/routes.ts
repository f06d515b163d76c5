import type { FastifyInstance } from "fastify";
import { decryptAge } from "../../core/age-decrypt.ts";
import type { AgeIdentity } from "../../core/age-identity.ts";
import { recipientSetId } from "../../core/age-recipients.ts";
import type { Clock } from "../../core/clock.ts";
import { ProtocolError } from "../../core/errors.ts";
import { assertMinionId } from "../../core/ids.ts";
import { Lane } from "../../core/lane.ts";
import { z } from "../../core/schema.ts";
import type { Secret } from "../../core/secret.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { parseBody } from "../api/answer.ts";
import type { IdentityRing } from "../identity-ring.ts";
import type { Secrets } from "../secrets.ts";
import { putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import type { Vault } from "../volumes/vault.ts";
import { dropIdentities, identityFacts, renewIdentity } from "./identity.ts";
import { importSecret } from "./import.ts";
import { lintPillar } from "./lint.ts";
import { listSecrets } from "./list.ts";
import type { GuardPillar, RecordAct } from "./record.ts";
import { recordedSet, REKEY_SET, rekey, type SealedHeaders } from "./rekey.ts";
import { setSecret } from "./set.ts";
import { secretHistory, showSecret } from "./show.ts";
import type { SecretUses } from "./uses.ts";

/** What the secrets' part of the control API rests on. */
export interface SecretRoutes {
  readonly store: Store;
  readonly clock: Clock;
  readonly identity: IdentityRing;
  /** The file that the identity is in. */
  readonly identityFile: string;
  readonly vaultWith: (identity: AgeIdentity) => Vault;
  readonly secrets: Secrets;
  /** Pillar roots, the one with `hosts/` first. */
  readonly roots: readonly string[];
  /** Shared with the pillar editor. */
  readonly lane: Lane;
  readonly allowShow: boolean;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  /** See `LintOptions`. */
  readonly compileOtherwise: (id: string) => Promise<CompiledPillar>;
  readonly compileWith: (id: string, text: string) => Promise<CompiledPillar>;
  readonly uses: (id: string, pillar: CompiledPillar) => Promise<SecretUses>;
  /** See `LintOptions`. */
  readonly sharedTrees: () => readonly string[];
  /** Accepted minions. */
  readonly ids: () => readonly string[];
  readonly guard: GuardPillar;
  readonly headers?: SealedHeaders;
  readonly record: RecordAct;
}

const path = z.string().min(1).max(500);
const force = z.boolean().optional();
const setSchema = z.strictObject({
  path,
  armored: z.string().min(1).max(200_000),
  set: z.string().max(64).optional(),
  force,
});
const showSchema = z.strictObject({ path, version: z.number().int().positive().optional() });
const importSchema = z.strictObject({ path, force });
const historySchema = z.object({ path });
const identitySchema = z.strictObject({ armored: z.string().min(1).max(20_000).optional() });
const listSchema = z.object({ host: z.string().optional() });

/** Notes to whom everything is encrypted in a store that does not know it yet. */
export async function noteRecipients(store: Store, clock: Clock, recipients: readonly string[]): Promise<void> {
  if ((await recordedSet(store, REKEY_SET)) !== undefined) return;
  await store.write([putRecord(REKEY_SET, { set: recipientSetId(recipients), at: clock.now() })]);
}

/** Adds `/v1/secrets`, `/v1/recipients`, `/v1/rekey`, `/v1/identity` and `/v1/lint`; see core/secrets-api.ts. */
export function addSecretRoutes(app: FastifyInstance, parts: SecretRoutes): void {
  const { secrets, roots, allowShow: allowed } = parts;
  const { versions } = secrets;
  const desk = { ...parts, root: roots[0] ?? "", versions, allowed };
  const rekeying = new Lane();
  const opens = (armored: string) => {
    try {
      secrets.open(armored).wipe();
      return true;
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
  };
  type ById = { readonly Params: { readonly id: string } };
  app.get("/v1/recipients", () => ({ recipients: versions.recipients }));
  app.get("/v1/secrets", async ({ query }) => {
    const { host } = parseBody(listSchema, query);
    return listSecrets(desk, host === undefined ? undefined : assertMinionId(host));
  });
  app.put<ById>("/v1/secrets/:id", async ({ params, body }) =>
    setSecret(desk, assertMinionId(params.id), parseBody(setSchema, body)),
  );
  app.post<ById>("/v1/secrets/:id/show", async ({ params, body }) =>
    showSecret(desk, assertMinionId(params.id), parseBody(showSchema, body)),
  );
  app.get<ById>("/v1/secrets/:id/history", async ({ params, query }) =>
    secretHistory(desk, assertMinionId(params.id), parseBody(historySchema, query).path),
  );
  app.post<ById>("/v1/secrets/:id/import", async ({ params, body }) =>
    importSecret(desk, assertMinionId(params.id), parseBody(importSchema, body)),
  );
  app.post("/v1/rekey", async () => rekeying.run(async () => rekey({ ...parts, versions })));
  const identityDesk = { ...parts, file: parts.identityFile, ring: parts.identity, versions };
  const withPassphrase = async <T>(body: unknown, act: (passphrase?: Secret) => Promise<T>): Promise<T> => {
    const { armored } = parseBody(identitySchema, body);
    using passphrase = armored === undefined ? undefined : decryptAge(armored, parts.identity);
    return await rekeying.run(async () => act(passphrase));
  };
  app.get("/v1/identity", async () => identityFacts(identityDesk));
  app.post("/v1/identity", async ({ body }) =>
    withPassphrase(body, async (passphrase) => {
      await renewIdentity(identityDesk, passphrase);
      return identityFacts(identityDesk);
    }),
  );
  app.post("/v1/identity/drop", async ({ body }) =>
    withPassphrase(body, async (passphrase) => dropIdentities(identityDesk, passphrase)),
  );
  app.get("/v1/lint", async () =>
    lintPillar({ ...parts, versions, opens, olderIdentities: () => parts.identity.older.length }),
  );
}
