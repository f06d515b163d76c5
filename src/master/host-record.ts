import { jsonObjectSchema } from "../core/json-schema.ts";
import { z } from "../core/schema.ts";

/** What the last highstate of a minion came to. */
export const lastHighstateSchema = z.object({
  jid: z.string(),
  finishedAt: z.number(),
  success: z.boolean(),
  startup: z.boolean(),
  succeeded: z.number(),
  changed: z.number(),
  failed: z.number(),
});

/** What the master remembers of a minion besides its key. */
export const hostRecordSchema = z.object({
  id: z.string(),
  version: z.string(),
  bootId: z.string(),
  grains: jsonObjectSchema,
  lastHighstate: lastHighstateSchema.nullable(),
});
export type HostRecord = z.infer<typeof hostRecordSchema>;

/** Where a minion's record lives in the store. */
export const HOSTS = "hosts/";
