import fastify, { type FastifyInstance } from "fastify";
import type { BackupReport, BackupRequest } from "../../core/backup-api.ts";
import type { JobReport, JobRequest, KeyList, LeaseList, MasterStatus, PillarShow } from "../../core/control-api.ts";
import { USER_HEADER, USER_NAME } from "../../core/control-api.ts";
import { ConfigError, LatchkeyError } from "../../core/errors.ts";
import { assertMinionId, JID } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Logger } from "../../core/log.ts";
import { jsonObjectSchema, jsonSchema } from "../../core/json-schema.ts";
import { z } from "../../core/schema.ts";
import { callingAs } from "../audit/actor.ts";
import type { AuditRoom } from "../audit/audit-room.ts";
import { didYouMean } from "../../sls/nearest.ts";
import type { MasterConfig } from "../config.ts";
import type { Enrolment } from "../enrolment.ts";
import type { EventBus } from "../events.ts";
import type { Hosts } from "../hosts.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { NotePush } from "../release/pushes.ts";
import { addAuditRoutes } from "./audit-routes.ts";
import { controlError, parseBody, sendLines } from "./answer.ts";
import { bindSocket } from "./socket.ts";

/** The rooms of the master that the operator's requests lead to. */
export interface ControlRooms {
  readonly enrolment: Enrolment;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly events: EventBus;
  readonly log: Logger;
  /** What must be on record before a job is published; a job that it rejects is not. */
  readonly beforeJob: (request: JobRequest) => Promise<void>;
  /** How who pushes a job is noted before it is published; undefined when nobody need be. Throws AuthError. */
  readonly provePush: (request: JobRequest) => Promise<NotePush | undefined>;
  readonly jobReport: (jid: string) => Promise<JobReport>;
  readonly leaseList: (limit: number) => Promise<LeaseList>;
  readonly audit: AuditRoom;
  readonly status: () => Omit<MasterStatus, "minions">;
  readonly backUp: (request: BackupRequest) => Promise<BackupReport>;
  readonly compilePillar: (id: string, grains: JsonObject) => Promise<JsonObject>;
  /** More routes, such as those that edit pillar. */
  readonly extend: (app: FastifyInstance) => void;
}

/** What clients get to read their last lines. */
const GRACE_MS = 500;
const MAX_BODY_BYTES = 8 * 1024 * 1024;

const keyActionSchema = z.strictObject({
  action: z.enum(["accept", "reject", "delete"]),
  match: z.string().min(1).max(300),
  dryRun: z.boolean(),
  fingerprints: z.array(z.string().max(200)).max(100_000).optional(),
  force: z.boolean().optional(),
});
const backupSchema = z.strictObject({ path: z.string().min(1).max(4096), force: z.boolean() });
const jobRequestSchema = z.strictObject({
  target: z.strictObject({ kind: z.enum(["glob", "list", "grain"]), expr: z.string().max(1_000_000) }),
  fun: z.string().regex(/^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+$/u, "write it as module.function"),
  args: z.array(jsonSchema).max(200),
  kwargs: jsonObjectSchema,
  timeoutMs: z.number().int().min(100).max(86_400_000),
  pushed: z
    .strictObject({
      statement: z.strictObject({
        what: z.literal("job"),
        master: z.string().max(1000),
        targetKind: z.enum(["glob", "list", "grain"]),
        target: z.string().max(1_000_000),
        fun: z.string().max(200),
        args: z.string().regex(/^[0-9a-f]{64}$/u),
        operator: z.string().min(1).max(300),
        expires: z.number(),
        nonce: z.string().regex(/^[0-9a-f]{32}$/u),
      }),
      signature: z.string().regex(/^[0-9a-f]{128}$/u),
    })
    .optional(),
});

/** The control API, listening. */
export interface ControlApi {
  /** Ends all streams and connections, and removes the socket. */
  close(): Promise<void>;
}

/** Serves the control API on a unix socket; who may open the socket may do everything. Throws as `bindSocket`. */
export async function serveControlApi(
  rooms: ControlRooms,
  { socket: socketPath, socket_access: access }: Pick<MasterConfig, "socket" | "socket_access">,
): Promise<ControlApi> {
  const stopping = new AbortController();
  const app = fastify({ logger: false, bodyLimit: MAX_BODY_BYTES, forceCloseConnections: "idle" });
  // in the context of each request, so that whatever it leads to is recorded with the name
  app.addHook("onRequest", (request, _reply, done) => {
    const { [USER_HEADER]: user } = request.headers;
    callingAs(typeof user === "string" && USER_NAME.test(user) ? user : "", done);
  });
  app.setErrorHandler((error, request, reply) => {
    const { status, body } = controlError(error);
    if (!(error instanceof LatchkeyError) && status >= 500)
      rooms.log.error({ err: error, url: request.url }, "request");
    return reply.status(status).send(body);
  });
  app.setNotFoundHandler((request) => {
    throw new ConfigError("not-found", `cannot find ${request.method} ${request.url}`);
  });
  addRoutes(app, rooms, stopping.signal);
  rooms.extend(app);
  await app.ready();
  const removeSocket = await bindSocket(app.server, socketPath, access);
  return {
    close: async () => {
      removeSocket();
      stopping.abort();
      // streams end by themselves; a client that does not read is not waited for
      const hurry = setTimeout(() => app.server.closeAllConnections(), GRACE_MS);
      await app.close();
      clearTimeout(hurry);
    },
  };
}

function addRoutes(app: FastifyInstance, rooms: ControlRooms, stopping: AbortSignal): void {
  const { enrolment, hosts, jobs, events } = rooms;
  app.get("/v1/status", async (): Promise<MasterStatus> => ({
    ...rooms.status(),
    minions: hosts.status(enrolment.acceptedIds()),
  }));
  app.get("/v1/keys", async (): Promise<KeyList> => ({ keys: enrolment.list() }));
  app.post("/v1/keys", async ({ body }): Promise<KeyList> => ({
    keys: await enrolment.act(parseBody(keyActionSchema, body)),
  }));
  app.post("/v1/backup", async ({ body }): Promise<BackupReport> => rooms.backUp(parseBody(backupSchema, body)));
  app.post("/v1/jobs", async (request, reply) => {
    const job = parseBody(jobRequestSchema, request.body);
    const note = await rooms.provePush(job);
    await rooms.beforeJob(job);
    const stream = await jobs.start(job, note);
    return sendLines(request, reply, stopping, (signal) => stream.read(signal));
  });
  app.get<{ Params: { jid: string } }>("/v1/jobs/:jid", async ({ params: { jid } }): Promise<JobReport> => {
    if (!JID.test(jid)) throw new ConfigError("bad-request", `cannot use job id "${jid}"`);
    return rooms.jobReport(jid);
  });
  app.get<{ Querystring: { limit?: string } }>("/v1/leases", async ({ query }): Promise<LeaseList> => {
    const limit = Number(query.limit ?? 100);
    return rooms.leaseList(Number.isInteger(limit) && limit > 0 ? Math.min(limit, 10_000) : 100);
  });
  app.get<{ Params: { id: string } }>("/v1/pillar/:id", async ({ params }): Promise<PillarShow> => {
    const id = assertMinionId(params.id);
    const pillar = await rooms.compilePillar(id, hosts.grains(id) ?? {});
    const known = enrolment.list().map((key) => key.id);
    if (known.includes(id)) return { id, pillar };
    if (Object.keys(pillar).length > 0) return { id, pillar, unknown: true };
    throw new ConfigError("no-such-minion", `cannot show a pillar of "${id}": no such host${didYouMean(id, known)}`, {
      hint: "it has neither a key here (`latchkey keys list`) nor a line in the pillar",
    });
  });
  addAuditRoutes(app, rooms.audit, stopping);
  app.get("/v1/events", async (request, reply) =>
    sendLines(request, reply, stopping, (signal) => events.follow(signal)),
  );
}
