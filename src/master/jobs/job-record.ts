import { MINION_ID } from "../../core/ids.ts";
import { jsonObjectSchema, jsonSchema } from "../../core/json-schema.ts";
import { z } from "../../core/schema.ts";

/** A job as the store keeps it. */
export const jobRecordSchema = z.object({
  jid: z.string(),
  seq: z.number(),
  issuedAt: z.number(),
  fun: z.string(),
  args: z.array(jsonSchema),
  kwargs: jsonObjectSchema,
  /** As the operator wrote it. */
  target: z.object({ kind: z.enum(["glob", "list", "grain"]), expr: z.string() }),
  /** Whom it named then, offline minions included: only they may return for it. */
  ids: z.array(z.string().regex(MINION_ID)),
});
export type JobRecord = z.infer<typeof jobRecordSchema>;

/** A return as the store keeps it. */
export const returnRecordSchema = z.object({
  jid: z.string(),
  id: z.string(),
  fun: z.string(),
  success: z.boolean(),
  retcode: z.number(),
  startedAt: z.number(),
  finishedAt: z.number(),
  receivedAt: z.number(),
  startup: z.boolean(),
  data: jsonSchema,
});
export type ReturnRecord = z.infer<typeof returnRecordSchema>;

export const jobKey = (jid: string): string => `jobs/${jid}`;
export const returnKey = (jid: string, id: string): string => `returns/${jid}/${id}`;
/** Returns of runs that a minion started by itself live in a room of its own: no jid of others can be taken. */
export const ownReturnKey = (id: string, jid: string): string => `own-returns/${id}/${jid}`;
