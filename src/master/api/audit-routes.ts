import type { FastifyInstance } from "fastify";
import type { AuditRecord } from "../../core/audit/chain.ts";
import type { AuditVerification } from "../../core/control-api.ts";
import { ConfigError } from "../../core/errors.ts";
import type { AuditRoom } from "../audit/audit-room.ts";
import { auditQuerySchema } from "../audit/query.ts";
import { parseBody, sendLines } from "./answer.ts";

/** Adds the routes below `/v1/audit`. */
export function addAuditRoutes(app: FastifyInstance, audit: AuditRoom, stopping: AbortSignal): void {
  app.get("/v1/audit", async (request, reply) => {
    const query = parseBody(auditQuerySchema, request.query);
    return sendLines(request, reply, stopping, (signal) => audit.read(query, signal));
  });
  app.get("/v1/audit/export", async (request, reply) => sendLines(request, reply, stopping, () => audit.export()));
  app.get<{ Querystring: { witness?: string } }>("/v1/audit/verify", async ({ query }): Promise<AuditVerification> =>
    audit.verify(query.witness === "1"),
  );
  app.get<{ Params: { seq: string } }>("/v1/audit/:seq", async ({ params: { seq } }): Promise<AuditRecord> => {
    if (!/^\d{1,15}$/u.test(seq)) throw new ConfigError("bad-request", `cannot use audit record number "${seq}"`);
    return audit.record(Number(seq));
  });
}
