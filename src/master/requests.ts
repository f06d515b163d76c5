import { AuthError, ConfigError, errorMessage } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { Logger } from "../core/log.ts";
import { VERSION } from "../core/version.ts";
import type { MasterHandlers, PeerSession } from "../wire/endpoints.ts";
import type { Method, Request, Response } from "../wire/messages.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import type { Witnesses } from "./audit/witnesses.ts";
import type { Contested } from "./contested.ts";
import type { Enrolment } from "./enrolment.ts";
import type { EventBus } from "./events.ts";
import type { FileServer } from "./file-server.ts";
import type { Heartbeats } from "./heartbeats.ts";
import type { Hosts } from "./hosts.ts";
import type { Jobs } from "./jobs/jobs.ts";
import type { Leases } from "./leases/leases.ts";
import type { Askers } from "./release/askers.ts";
import type { Liveness } from "./release/liveness.ts";
import type { Campaigns } from "./volumes/campaigns.ts";
import type { ErasedSlots } from "./volumes/erased-slots.ts";
import type { Forgetting } from "./volumes/forget.ts";
import type { Rotations } from "./volumes/rotations.ts";
import type { HeaderRequests } from "./volumes/header-requests.ts";
import type { KnownHeaders } from "./volumes/known-headers.ts";
import type { Volumes } from "./volumes/volumes.ts";

/** The rooms of the master that minions' requests lead to. */
export interface RequestRooms {
  readonly enrolment: Enrolment;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly leases: Leases;
  readonly heartbeats: Heartbeats;
  readonly contested: Pick<Contested, "replaced">;
  readonly liveness: Pick<Liveness, "gone" | "heard">;
  readonly askers: Pick<Askers, "returned">;
  readonly audit: Pick<AuditLog, "checkpoint">;
  readonly witnesses: Witnesses;
  readonly files: FileServer;
  readonly volumes: Pick<Volumes, "report">;
  readonly campaigns: Pick<Campaigns, "returned" | "work">;
  readonly erasedSlots: Pick<ErasedSlots, "take">;
  readonly forgetting: Pick<Forgetting, "forget">;
  readonly headers: HeaderRequests;
  readonly knownHeaders: Pick<KnownHeaders, "tell">;
  readonly rotations: Pick<Rotations, "step" | "work">;
  readonly events: EventBus;
  readonly compilePillar: (id: string, grains: JsonObject) => Promise<JsonObject>;
  readonly log: Pick<Logger, "warn">;
  readonly heartbeatMs: number;
  readonly now: () => number;
}

type Handlers = {
  readonly [M in Method]: (session: PeerSession, body: Request<M>) => Promise<Response<M>>;
};

/**
 * What a minion may ask, written out: nothing else can be reached. Whose request it is comes from the session alone, and
 * that the session's key still holds its id is asked anew each time.
 */
export function minionHandlers(rooms: RequestRooms): MasterHandlers {
  const { enrolment, hosts, events, liveness } = rooms;
  const handlers = requestHandlers(rooms);
  return {
    holder: (id) => enrolment.holder(id),
    admit: async (id, peer, address) => enrolment.admit(id, peer, address),
    request: async (session, method, body) => {
      if (!enrolment.allows(session) || !Object.hasOwn(handlers, method)) {
        session.close();
        throw new AuthError("not-allowed", `cannot serve "${session.minionId}": its key is not accepted`);
      }
      hosts.alive(session);
      return handlers[method](session, body);
    },
    opened: (session) => {
      // the key may have been deleted while the handshake was under way
      if (enrolment.allows(session)) enrolment.met(session);
      else session.close();
    },
    closed: (session) => {
      if (!hosts.closed(session)) return;
      liveness.gone(session.minionId);
      events.emit(`session/down/${session.minionId}`, { id: session.minionId });
    },
  };
}

/** What a minion may know of a mistake in its pillar: where it is, never the text. */
function placeOf({ code, facts }: ConfigError) {
  const { file, line } = facts;
  return { kind: code, ...(typeof file === "string" ? { file } : {}), ...(typeof line === "number" ? { line } : {}) };
}

function requestHandlers(rooms: RequestRooms): Handlers {
  const { hosts, jobs, leases, files, events } = rooms;
  return {
    hello: async (session, body) => {
      const { minionId: id, address } = session;
      const before = hosts.session(id);
      if (before !== undefined && before !== session && body.role === "agent")
        rooms.contested.replaced(before, session);
      // before the host is known as here: no job goes to it under a number that it would take for a replay
      if (body.role === "agent") await jobs.greeted(id, body);
      await hosts.hello(session, body);
      if (body.role === "agent") {
        rooms.liveness.heard(id);
        events.emit(`session/up/${id}`, { id, address, version: body.version, bootId: body.bootId });
      }
      const seq = body.role === "agent" ? jobs.awaited(id) : 0;
      return { version: VERSION, now: rooms.now(), seq, heartbeatMs: rooms.heartbeatMs };
    },
    heartbeat: async (session, body) => {
      await rooms.heartbeats.prove(session, body);
      hosts.alive(session, body.running);
      if (hosts.session(session.minionId) === session) rooms.liveness.heard(session.minionId);
      jobs.heartbeat(session.minionId, body);
      if (body.witness) await rooms.witnesses.heard(session.minionId, body.witness);
      const { checkpoint } = rooms.audit;
      return { seq: jobs.awaited(session.minionId), ...(checkpoint === undefined ? {} : { checkpoint }) };
    },
    "jobs.since": async (session, { lastSeq }) => jobs.since(session.minionId, lastSeq),
    "job.ack": async (session, body) => {
      jobs.acked(session.minionId, body);
      return {};
    },
    "job.progress": async (session, body) => {
      jobs.progressed(session.minionId, body);
      return {};
    },
    return: async (session, body) => {
      await jobs.returned(session.minionId, body);
      rooms.askers.returned(session.minionId, body.jid);
      await rooms.campaigns.returned(session.minionId, body.fun, body.success, body.data);
      return {};
    },
    pillar: async ({ minionId: id }) => {
      try {
        return { pillar: { ...(await rooms.compilePillar(id, hosts.grains(id) ?? {})) } };
      } catch (error) {
        const reason = errorMessage(error);
        events.emit(`pillar/failed/${id}`, { id, reason });
        if (!(error instanceof ConfigError)) throw error;
        rooms.log.warn({ id, reason }, "the pillar of a minion cannot be compiled");
        return { broken: placeOf(error) };
      }
    },
    "files.list": async () => files.list(),
    "files.get": async (_session, body) => files.get(body),
    lease: async (session, body) => leases.lease(session, body),
    "lease.receipt": async (session, body) => leases.receipt(session, body),
    "volume.report": async ({ minionId: id }, { reports }) => {
      await rooms.volumes.report(id, reports);
      return {};
    },
    "volume.work": async ({ minionId }) => {
      const resumed = await rooms.rotations.work(minionId);
      const { volumes, keepOld } = await rooms.campaigns.work(minionId);
      const begun = volumes.map((volume) => ({ kind: "rotate" as const, volume, keepOld }));
      return { work: [...resumed, ...begun] };
    },
    "volume.erased": async (session, body) => rooms.erasedSlots.take(session, body),
    "volume.forget": async (session, body) => rooms.forgetting.forget(session, body),
    "volume.rotation": async (session, body) => rooms.rotations.step(session, body),
    "header.offer": async (session, body) => rooms.headers.offer(session, body),
    "header.chunk": async (session, body) => rooms.headers.chunk(session, body),
    "header.store": async (session, body) => rooms.headers.store(session, body),
    "header.list": async (session, body) => rooms.headers.list(session, body),
    "header.get": async (session, body) => rooms.headers.get(session, body),
    "header.known": async ({ minionId }, body) => rooms.knownHeaders.tell(minionId, body),
    bye: async (session) => {
      setImmediate(() => session.close());
      return {};
    },
  };
}
