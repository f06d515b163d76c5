import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ControlError } from "../../core/control-api.ts";
import { AuthError, ConfigError, errorMessage, LatchkeyError } from "../../core/errors.ts";
import type { z } from "../../core/schema.ts";

/** HTTP status by error code, where the class alone does not tell. */
const STATUS: Readonly<Record<string, number>> = {
  "not-found": 404,
  "no-such-job": 404,
  "no-such-record": 404,
  "no-such-minion": 404,
  "no-such-secret": 404,
  "pillar-changed": 409,
  "bad-pillar": 422,
  "bad-template": 422,
  "bad-top": 422,
  "bad-yaml": 422,
  "empty-secret": 422,
  "key-not-kept": 422,
  "missing-pillar-sls": 422,
  "not-placed": 422,
  "pillar-invalid": 422,
};

/** What a thrown thing becomes on the wire of the control API. */
export function controlError(error: unknown): {
  readonly status: number;
  readonly body: { readonly error: ControlError };
} {
  if (error instanceof LatchkeyError) {
    const { code, message, hint, exitStatus, facts } = error;
    const classStatus = error instanceof ConfigError ? 400 : error instanceof AuthError ? 403 : 500;
    return {
      status: STATUS[code] ?? classStatus,
      body: { error: { code, message, exitStatus, facts, ...(hint === undefined ? {} : { hint }) } },
    };
  }
  // fastify's own: a body that is no JSON, one that is too large
  const known = error instanceof Error && "statusCode" in error && typeof error.statusCode === "number";
  return {
    status: known ? Number(error.statusCode) : 500,
    body: {
      error: { code: known ? "bad-request" : "internal", message: errorMessage(error), exitStatus: known ? 2 : 70 },
    },
  };
}

/** The body of a request as the schema reads it. Throws ConfigError `bad-request`. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = (issue?.path ?? []).join(".");
  throw new ConfigError(
    "bad-request",
    `cannot read the request: ${where === "" ? "" : `"${where}": `}${issue?.message}`,
  );
}

/**
 * Answers with newline-delimited JSON. `items` gets a signal that aborts when the client is gone or the master stops; its
 * work is not cancelled by that.
 */
export function sendLines(
  request: FastifyRequest,
  reply: FastifyReply,
  stopping: AbortSignal,
  items: (signal: AbortSignal) => AsyncIterable<object>,
): FastifyReply {
  const gone = new AbortController();
  request.raw.socket.once("close", () => gone.abort());
  const signal = AbortSignal.any([gone.signal, stopping]);
  async function* lines() {
    // an empty line first: the client has its headers before the first event
    yield "\n";
    for await (const item of items(signal)) yield `${JSON.stringify(item)}\n`;
  }
  return reply.type("application/x-ndjson").send(Readable.from(lines(), { highWaterMark: 64 }));
}
