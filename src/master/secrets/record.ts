import type { JsonObject } from "../../core/json.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import type { GuardedAct } from "../volumes/guard.ts";

/** What is done to secrets, as the audit log names it. */
export type SecretAct =
  | "identity-replaced"
  | "secret-shown"
  | "secret-show-denied"
  | "secret-set"
  | "secret-imported"
  | "secrets-rekeyed";

/** Keeps, before it happens, what is done to a host's secrets (`id` "" for all); what it throws stops that. Never a value. */
export type RecordAct = (act: SecretAct, id: string, data: JsonObject) => Promise<void>;

/** Refuses a pillar that takes the key of a provisioned volume away, by throwing. */
export type GuardPillar = (id: string, pillar: CompiledPillar, act: GuardedAct) => Promise<void>;
