import type { AuditFact } from "../../core/audit/chain.ts";
import type { JobRequest } from "../../core/control-api.ts";
import { argumentsDigest } from "../../core/operator-statement.ts";
import { callingUser, MASTER, ROOT } from "../audit/actor.ts";
import type { JobRecord } from "./job-record.ts";

/** Of a target's text; a list of hosts may be long. */
const MAX_TARGET_CHARS = 200;

/**
 * The audit record of a job, one however many hosts it is for: who, what, whom and when. Of its arguments the digest alone, since
 * there may be secrets among them (`argumentsDigest`: who has the arguments can prove that they are it).
 */
export function jobFact(job: JobRecord, { pushed }: Pick<JobRequest, "pushed">): AuditFact {
  const { jid, issuedAt, fun, args, kwargs, target, ids } = job;
  const by = callingUser() === undefined ? MASTER : ROOT;
  const { expr } = target;
  return {
    at: issuedAt,
    kind: "job-started",
    ...by,
    actor: pushed?.statement.operator ?? by.actor,
    subject: ids.length === 1 ? (ids[0] ?? "") : "",
    data: {
      jid,
      fun,
      args: argumentsDigest(args, kwargs),
      targetKind: target.kind,
      target: expr.length > MAX_TARGET_CHARS ? `${expr.slice(0, MAX_TARGET_CHARS)}…` : expr,
      hosts: ids.length,
    },
  };
}
