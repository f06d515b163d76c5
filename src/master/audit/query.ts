import type { AuditRecord } from "../../core/audit/chain.ts";
import { z } from "../../core/schema.ts";
import { globMatcher } from "../../sls/glob.ts";

const count = z.string().regex(/^\d{1,15}$/u, "write a whole number");
const ms = count.transform(Number);

/** The query of `GET /v1/audit`. Times are milliseconds since the epoch. */
export const auditQuerySchema = z.strictObject({
  /** Glob on who acted or whom it is about. */
  minion: z.string().min(1).max(300).default("*"),
  /** Glob on the kind of record. */
  kind: z.string().min(1).max(100).default("*"),
  since: ms.default(0),
  until: ms.default(Number.MAX_SAFE_INTEGER),
  /** At most so many of the past, the newest. */
  limit: count.transform((text) => Math.min(Number(text), 100_000)).default(100),
  follow: z
    .enum(["0", "1"])
    .transform((text) => text === "1")
    .default(false),
});
export type AuditQuery = z.infer<typeof auditQuerySchema>;

/** Whether a record is one that the query asks for. */
export function auditMatcher({ minion, kind, since, until }: AuditQuery): (record: AuditRecord) => boolean {
  const isMinion = minion === "*" ? () => true : globMatcher(minion);
  const isKind = globMatcher(kind);
  return (record) =>
    record.at >= since &&
    record.at <= until &&
    isKind(record.kind) &&
    (isMinion(record.subject) || isMinion(record.actor));
}
