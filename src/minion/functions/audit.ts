import { z } from "../../core/schema.ts";
import { readPinnedMaster } from "../master-pin.ts";
import { fingerprint } from "../../core/identity.ts";
import { readWitnessed } from "../witness.ts";
import { defineFunction, ok } from "./function.ts";

/** `audit.*`: what this machine keeps of its master's audit log. */
export const auditFunctions = [
  defineFunction({
    name: "audit.checkpoint",
    summary:
      "The newest signed checkpoint of the master's audit log that this machine keeps, and what speaks against it.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: async (_params, { host, stateDir }) => {
      const master = await readPinnedMaster(host, stateDir);
      const name = master === undefined ? "" : fingerprint(master);
      const kept = (await readWitnessed(host, stateDir))[name];
      return ok({ master: name, checkpoint: kept?.checkpoint ?? null, dispute: kept?.dispute ?? "" });
    },
  }),
];
