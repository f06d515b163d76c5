import { z } from "../../core/schema.ts";

/** Below it, the last final erase of each volume: `erasure/<minion id>/<volume>`. */
export const ERASURES = "erasure/";
export const erasureKey = (id: string, volume: string): string => `${ERASURES}${id}/${encodeURIComponent(volume)}`;

/** The schema of a final erase as it is stored. */
export const erasureSchema = z.strictObject({
  /** 32 hex digits that no other erasure has: approvals are of this one alone. */
  erasure: z.string(),
  id: z.string(),
  volume: z.string(),
  path: z.string(),
  luksUuid: z.string(),
  by: z.string(),
  at: z.number(),
  expires: z.number(),
  state: z.enum(["asked", "destroying", "done"]),
  approvals: z.array(z.object({ operator: z.string(), keyId: z.string(), at: z.number(), expires: z.number() })),
});
export type ErasureRecord = z.infer<typeof erasureSchema>;
