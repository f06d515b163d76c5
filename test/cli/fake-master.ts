import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  ControlError,
  ControlEvent,
  JobEvent,
  JobReport,
  JobRequest,
  KeyAction,
  KeyEntry,
  LeaseList,
  MasterStatus,
  PillarShow,
  PillarSource,
  PillarUpdate,
  PillarUpdated,
} from "../../src/core/control-api.ts";

/** What the fake master says; every call is typed by the control API. Without a handler it answers 404. */
export interface Script {
  readonly keys?: () => readonly KeyEntry[];
  readonly changeKeys?: (action: KeyAction) => readonly KeyEntry[];
  readonly status?: () => MasterStatus;
  /** Events of a job; a string is written raw, and "cut" breaks the connection. */
  readonly job?: (request: JobRequest) => readonly (JobEvent | string)[];
  readonly pillar?: (id: string) => PillarShow;
  readonly source?: (id: string) => PillarSource;
  /** Undefined leaves the request without an answer. */
  readonly update?: (id: string, update: PillarUpdate) => PillarUpdated | Refusal | undefined;
  readonly events?: () => readonly ControlEvent[];
  readonly report?: (jid: string) => JobReport;
  readonly leases?: (query: string) => LeaseList;
  /** Answers to GET requests, by their whole path. */
  readonly json?: Readonly<Record<string, unknown>>;
  /** Answers to other POST requests; undefined for none of these. */
  readonly post?: (path: string, body: unknown) => unknown;
  /** In front of everything: a refusal for any request. */
  readonly refuse?: () => Refusal | undefined;
  /** Keeps a job's stream open after its events until the client goes away. */
  readonly hang?: boolean;
}

export interface Refusal {
  readonly httpStatus: number;
  readonly error: ControlError;
}

export interface FakeMaster {
  readonly socket: string;
  /** `METHOD path` of each request, in order. */
  readonly requests: readonly string[];
  /** Resolves when a client has hung up on a stream. */
  readonly hungUp: Promise<void>;
  close(): Promise<void>;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? undefined : JSON.parse(text);
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const refuse = (response: ServerResponse, { httpStatus, error }: Refusal) => sendJson(response, httpStatus, { error });

const NOT_FOUND: Refusal = {
  httpStatus: 404,
  error: { code: "not-found", message: "cannot answer: no such thing", exitStatus: 2 },
};

function answer(script: Script, request: IncomingMessage, body: unknown, response: ServerResponse): void {
  const [, , room, id = "", part] = (request.url ?? "").split("/");
  const host = decodeURIComponent(id);
  const refused = script.refuse?.();
  if (refused) return refuse(response, refused);
  const get = request.method === "GET";
  const fixed = get ? script.json?.[request.url ?? ""] : undefined;
  if (fixed !== undefined) return sendJson(response, 200, fixed);
  const posted = request.method === "POST" ? script.post?.(request.url ?? "", body) : undefined;
  if (posted !== undefined) return sendJson(response, 200, posted);
  if (room === "keys" && get && script.keys) return sendJson(response, 200, { keys: script.keys() });
  if (room === "keys" && script.changeKeys) {
    return sendJson(response, 200, { keys: script.changeKeys(body as KeyAction) });
  }
  if (room === "status" && script.status) return sendJson(response, 200, script.status());
  if (room === "pillar" && part === undefined && script.pillar) return sendJson(response, 200, script.pillar(host));
  if (room === "pillar" && get && script.source) return sendJson(response, 200, script.source(host));
  if (room === "pillar" && !get && script.update) {
    const result = script.update(host, body as PillarUpdate);
    if (result === undefined) return;
    return "error" in result ? refuse(response, result) : sendJson(response, 200, result);
  }
  if (room === "jobs" && get && script.report) return sendJson(response, 200, script.report(host));
  if (room?.startsWith("leases") && script.leases) return sendJson(response, 200, script.leases(room));
  const lines = room === "jobs" ? script.job?.(body as JobRequest) : room === "events" ? script.events?.() : undefined;
  if (!lines) return refuse(response, NOT_FOUND);
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.write("\n");
  for (const line of lines) {
    if (line === "cut") return void response.write("", () => response.destroy());
    response.write(typeof line === "string" ? line : `${JSON.stringify(line)}\n`);
  }
  if (!script.hang) response.end();
}

/** A control API on a unix socket of its own that says what the script says. */
export async function startFakeMaster(script: Script): Promise<FakeMaster> {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-cli-"));
  const socket = join(directory, "master.sock");
  const requests: string[] = [];
  const gone = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    response.on("close", () => response.writableFinished || gone.resolve());
    void bodyOf(request).then((body) => answer(script, request, body, response));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    socket,
    requests,
    hungUp: gone.promise,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
