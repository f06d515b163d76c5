import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { assertAgeRecipient } from "../core/age-identity.ts";
import type { Clock } from "../core/clock.ts";
import type { JsonObject } from "../core/json.ts";
import { Lane } from "../core/lane.ts";
import { z } from "../core/schema.ts";
import type { LeasePurpose } from "../core/lease-purpose.ts";
import type { CompiledPillar } from "../pillar/compile.ts";
import { PillarTree } from "../pillar/tree.ts";
import { AGE_IDENTITY_FILE, type AskPassphrase, loadAgeIdentity } from "./age-identity-file.ts";
import { ROOT } from "./audit/actor.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { parseBody } from "./api/answer.ts";
import type { MasterConfig } from "./config.ts";
import { IdentityRing } from "./identity-ring.ts";
import type { ResolvedSecret } from "./leases/leases-options.ts";
import { createPillarEditor } from "./pillar-edit.ts";
import type { SecretVersions } from "./secret-versions.ts";
import { openSecrets } from "./secrets.ts";
import type { SealedHeaders } from "./secrets/rekey.ts";
import { sealStrays } from "./secrets/seal-strays.ts";
import { otherGrains } from "./secrets/other-grains.ts";
import { addSecretRoutes, noteRecipients } from "./secrets/routes.ts";
import type { SecretUses } from "./secrets/uses.ts";
import { sharedTrees } from "./shared-trees.ts";
import type { Store } from "./store/store.ts";
import { type Vault, vaultOf } from "./volumes/vault.ts";
import type { GuardedAct } from "./volumes/guard.ts";

const MAX_PILLAR_CHARACTERS = 1024 * 1024;

const updateSchema = z.strictObject({
  revision: z.string().regex(/^(?:[0-9a-f]{64})?$/u),
  text: z.string().max(MAX_PILLAR_CHARACTERS),
  force: z.boolean().optional(),
});

/** The minions, as this room needs to know them. */
export interface Fleet {
  /** Grains as the minion last said; `{}` for one that was never seen. */
  readonly grainsOf: (id: string) => JsonObject;
  /** Ids of accepted minions. */
  readonly ids: () => readonly string[];
  /** Refuses a pillar that takes the key of a provisioned volume away; see `VolumeGuard`. */
  readonly guard?: (id: string, pillar: CompiledPillar, act: GuardedAct) => Promise<void>;
  /** Headers in escrow, which are encrypted like secrets. */
  readonly headers?: SealedHeaders;
}

/** Pillar as the master's other rooms see it. */
export interface PillarRoom extends Disposable {
  /** A host's compiled pillar, and the paths of the secrets in it. Throws ConfigError for a broken one. */
  compile(id: string, grains: JsonObject): Promise<CompiledPillar>;
  /** What the store holds of secrets. */
  readonly versions: SecretVersions;
  /** See `Secrets.resolveSecret`. */
  resolveSecret(
    id: string,
    pillar: CompiledPillar,
    path: string,
    purpose: LeasePurpose,
    version: number,
  ): Promise<ResolvedSecret | undefined>;
  /** What proofs and escrow need of the secrets. */
  readonly vault: Vault;
  /** Adds the routes that edit pillar, `GET` and `PUT /v1/pillar/:id/source`, and those of core/secrets-api.ts. */
  extend(app: FastifyInstance, fleet: Fleet): void;
}

/** What the room rests on. */
export interface PillarRoomOptions {
  readonly config: Pick<
    MasterConfig,
    "file_roots" | "pillar_roots" | "recovery_recipients" | "state_dir" | "allow_secret_show" | "allow_secret_edit"
  >;
  readonly store: Store;
  readonly clock: Clock;
  readonly audit: Pick<AuditLog, "append">;
  /** For an age identity that has one. */
  readonly passphrase?: AskPassphrase;
  /** Which of a host's states name which of its secrets. */
  readonly uses: (id: string, grains: JsonObject, pillar: CompiledPillar) => Promise<SecretUses>;
  /** What a host's states say to a pillar that is about to be saved, one line a mistake. */
  readonly validate: (id: string, grains: JsonObject, pillar: CompiledPillar) => Promise<readonly string[]>;
  /** Told what an operator should know of the secrets; never a value. */
  readonly warn?: (line: string) => void;
}

const PLAIN_TEXT_WAS_KEPT = "backups of before still have it as it was, so replace it where it is in use";

/**
 * Opens pillar roots and secrets; makes the master's age identity at first start. Throws ConfigError for a recipient or
 * identity that cannot be used.
 */
export async function openPillarRoom(options: PillarRoomOptions): Promise<PillarRoom> {
  const { config, store, clock, audit, validate, uses, warn = () => {} } = options;
  const recoveryRecipients = config.recovery_recipients.map(assertAgeRecipient);
  const identityFile = join(config.state_dir, AGE_IDENTITY_FILE);
  const identity = new IdentityRing(await loadAgeIdentity(identityFile, store, clock, options.passphrase));
  const tree = new PillarTree(config.pillar_roots.base);
  const secrets = openSecrets({ store, identity, recoveryRecipients, clock });
  const lane = new Lane();
  await noteRecipients(store, clock, secrets.versions.recipients);
  const strays = await sealStrays({ store, versions: secrets.versions, identity, clock });
  for (const stray of strays) warn(`${stray} was plain text in the store and is encrypted now: ${PLAIN_TEXT_WAS_KEPT}`);
  return {
    versions: secrets.versions,
    compile: async (id, grains) => tree.compile(id, grains),
    resolveSecret: async (...request) => secrets.resolveSecret(...request),
    vault: vaultOf(secrets, identity),
    extend: (app, { grainsOf, ids, guard, headers }) => {
      const editor = createPillarEditor({
        root: config.pillar_roots.base[0] ?? "/srv/latchkey/pillar",
        secrets,
        lane,
        hideSecrets: !config.allow_secret_edit,
        recoveryRecipients,
        compileWith: async (id, text) => tree.compileWith(id, grainsOf(id), text),
        ...(guard === undefined
          ? {}
          : { guard: async (id, pillar, force) => guard(id, pillar, { what: "pillar edit", force }) }),
        validate: async (id, pillar) => validate(id, grainsOf(id), pillar),
        record: async (id, { kind, file, secrets: paths }) => {
          await audit.append({ at: clock.now(), kind, ...ROOT, subject: id, data: { file, secrets: paths } });
        },
        grainsKnown: (id) => Object.keys(grainsOf(id)).length > 0,
      });
      app.get<{ Params: { id: string } }>("/v1/pillar/:id/source", async ({ params }) => editor.source(params.id));
      app.put<{ Params: { id: string } }>("/v1/pillar/:id/source", async ({ params, body }) =>
        editor.update(params.id, parseBody(updateSchema, body)),
      );
      addSecretRoutes(app, {
        store,
        clock,
        identity,
        identityFile,
        vaultWith: (alone) => vaultOf(secrets, alone),
        secrets,
        roots: config.pillar_roots.base,
        lane,
        allowShow: config.allow_secret_show,
        compile: async (id) => tree.compile(id, grainsOf(id)),
        compileOtherwise: async (id) => tree.compile(id, otherGrains(grainsOf(id))),
        compileWith: async (id, text) => tree.compileWith(id, grainsOf(id), text),
        uses: async (id, pillar) => uses(id, grainsOf(id), pillar),
        sharedTrees: () => sharedTrees(config),
        ids,
        ...(headers === undefined ? {} : { headers }),
        guard: async (id, pillar, act) => guard?.(id, pillar, act),
        record: async (kind, subject, data) => {
          await audit.append({ at: clock.now(), kind, ...ROOT, subject, data });
        },
      });
    },
    [Symbol.dispose]: () => secrets[Symbol.dispose](),
  };
}
