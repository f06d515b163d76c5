import type { ClientRequest, IncomingMessage } from "node:http";
import { type ControlError, USER_HEADER, USER_NAME } from "../core/control-api.ts";
import { LatchkeyError, ProtocolError, TransportError } from "../core/errors.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import { callingUser } from "./calling-user.ts";
import { RemoteError } from "./remote-error.ts";

/** Longest line of a stream: one host's return. */
const MAX_LINE_CHARS = 256 * 1024 * 1024;

export type ControlMethod = "GET" | "POST" | "PUT";

/** The master's control API (core/control-api.ts) on its unix socket. */
export interface ControlClient {
  /** One request, one JSON answer. Throws RemoteError for what the master refuses, TransportError when it is not there. */
  request<T>(method: ControlMethod, path: string, body?: unknown): Promise<T>;
  /** One request, answered by lines of JSON as they come. Ends when the master ends it. */
  stream<T>(method: ControlMethod, path: string, body?: unknown): AsyncGenerator<T>;
}

function unreachable(socketPath: string, error: NodeJS.ErrnoException): TransportError {
  const hints: Readonly<Record<string, string>> = {
    ENOENT: "start the master with `latchkey master`, or name its socket with --socket",
    ECONNREFUSED: "the master is not running: start it with `latchkey master`",
    EACCES:
      "the socket is for root and for the group of the master's user: run this as root, or join that group (latchkey)",
  };
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "no such socket",
    ECONNREFUSED: "nobody listens there",
    EACCES: "permission denied",
    ECONNRESET: "it closed the connection",
  };
  const code = error.code ?? "";
  const hint = hints[code];
  return new TransportError(
    "master-unreachable",
    `cannot reach the master at "${socketPath}": ${reasons[code] ?? error.message}`,
    { cause: error, ...(hint === undefined ? {} : { hint }) },
  );
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new ProtocolError("bad-answer", "cannot read the master's answer: it is no JSON", { cause: error });
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function refusal(response: IncomingMessage): Promise<RemoteError | ProtocolError> {
  const status = response.statusCode ?? 0;
  const body = parse((await textOf(response)) || "null");
  const error = isJsonObject(body) ? body["error"] : undefined;
  if (isJsonObject(error) && typeof error["message"] === "string" && typeof error["exitStatus"] === "number") {
    return new RemoteError(status, error as unknown as ControlError);
  }
  return new ProtocolError("bad-answer", `cannot use the master's answer: HTTP status ${status}`, {
    hint: "master and command line may be of different versions",
  });
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  response.setEncoding("utf8");
  let rest: string[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<string>) {
    const parts = chunk.split("\n");
    const last = parts.pop() ?? "";
    for (const part of parts) {
      yield [...rest, part].join("");
      rest = [];
      length = 0;
    }
    rest.push(last);
    length += last.length;
    if (length > MAX_LINE_CHARS) throw new ProtocolError("bad-answer", "cannot read the master's answer: endless line");
  }
  if (length > 0) yield rest.join("");
}

/** A client for the control API at `socketPath`; `signal` ends whatever it is doing, `user` is named in the audit log. */
export function controlClient(socketPath: string, signal: AbortSignal, user = callingUser()): ControlClient {
  const open = async (method: ControlMethod, path: string, body: unknown): Promise<IncomingMessage> => {
    signal.throwIfAborted();
    // not `import`: that reads every export of node:http, and its WebSocket getter alone costs 45 ms of loading
    const { request } = process.getBuiltinModule("node:http");
    const { connect } = process.getBuiltinModule("node:net");
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body), "utf8");
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing: ClientRequest = request({
        socketPath,
        method,
        path,
        // no agent: one request a connection, and none of the agent's host name parsing (5 ms of regular expressions)
        createConnection: () => connect(socketPath),
        signal,
        headers: {
          host: "latchkey",
          ...(USER_NAME.test(user) ? { [USER_HEADER]: user } : {}),
          ...(payload === undefined
            ? {}
            : { "content-type": "application/json", "content-length": String(payload.length) }),
        },
      });
      outgoing.once("response", resolve);
      outgoing.on("error", (error) => reject(signal.aborted ? signal.reason : unreachable(socketPath, error)));
      outgoing.end(payload);
    });
    if ((response.statusCode ?? 0) >= 400) throw await refusal(response);
    return response;
  };
  const cut = (error: unknown) => {
    if (signal.aborted) return signal.reason;
    if (error instanceof LatchkeyError) return error;
    return new TransportError("master-gone", "cannot read on: the master broke the connection off", { cause: error });
  };
  return {
    request: async <T>(method: ControlMethod, path: string, body?: unknown) => {
      const response = await open(method, path, body);
      try {
        return parse((await textOf(response)) || "null") as T;
      } catch (error) {
        throw cut(error);
      }
    },
    stream: async function* <T>(method: ControlMethod, path: string, body?: unknown) {
      const response = await open(method, path, body);
      try {
        for await (const line of linesOf(response)) {
          // the master sends an empty line first, to have its headers on the way
          if (line === "") continue;
          const event = parse(line);
          if (!isJsonObject(event)) throw new ProtocolError("bad-answer", "cannot read the master's answer: no event");
          yield event as T;
        }
      } catch (error) {
        throw cut(error);
      } finally {
        response.destroy();
      }
    },
  };
}
