import type { FastifyInstance } from "fastify";
import { ConfigError } from "../../core/errors.ts";
import { MINION_ID } from "../../core/ids.ts";
import { z } from "../../core/schema.ts";
import type { PassphraseHeld } from "../../core/volume-api.ts";
import { parseBody } from "../api/answer.ts";
import type { Passphrases } from "./passphrases.ts";
import type { Vault } from "./vault.ts";

const offerSchema = z.strictObject({ id: z.string().regex(MINION_ID), armored: z.string().min(1).max(20_000) });

/** What the route works with. */
export interface PassphraseDesk extends Pick<Vault, "openOnce"> {
  readonly passphrases: Pick<Passphrases, "hold">;
  readonly acceptedIds: () => readonly string[];
}

/** Adds `POST /v1/volumes/passphrase`. What it takes is opened into memory that is wiped, and stays there alone. */
export function addPassphraseRoute(app: FastifyInstance, desk: PassphraseDesk): void {
  app.post("/v1/volumes/passphrase", async ({ body }): Promise<PassphraseHeld> => {
    const { id, armored } = parseBody(offerSchema, body);
    if (!desk.acceptedIds().includes(id)) {
      throw new ConfigError("no-minion", `cannot hold a passphrase for "${id}": it is no accepted minion`);
    }
    const secret = desk.openOnce(armored);
    if (secret.length > 0) return { ticket: desk.passphrases.hold(id, secret) };
    throw new ConfigError("empty-secret", "cannot hold a passphrase: it is empty");
  });
}
