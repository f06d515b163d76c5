import type { FastifyInstance } from "fastify";
import { assertMinionId } from "../../core/ids.ts";
import { z } from "../../core/schema.ts";
import type { ErasureEntry, ErasureList } from "../../core/volume-api.ts";
import { parseBody } from "../api/answer.ts";
import type { Erasures } from "./erasures.ts";

const text = z.string().min(1).max(300);
const signature = z.string().regex(/^[0-9a-f]{128}$/u);
const placeSchema = z.strictObject({ id: text, volume: text });
const askSchema = placeSchema.extend({
  asked: z
    .strictObject({
      statement: z.strictObject({
        what: z.literal("ask-erase"),
        master: z.string().max(1000),
        erasure: z.string().regex(/^[0-9a-f]{32}$/u),
        minion: text,
        volume: text,
        operator: text,
        expires: z.number(),
      }),
      signature,
    })
    .optional(),
});
const executeSchema = placeSchema.extend({ typed: z.string().max(300), hostGone: z.boolean().default(false) });
const approveSchema = z.strictObject({
  statement: z.strictObject({
    what: z.literal("erase"),
    master: z.string().max(1000),
    erasure: text,
    minion: text,
    volume: text,
    luksUuid: text,
    operator: text,
    expires: z.number(),
  }),
  signature,
});

/** Adds `/v1/erasures`: `GET` lists, `POST` asks, `POST …/approve` approves, `POST …/execute` destroys. */
export function addErasureRoutes(app: FastifyInstance, erasures: Erasures): void {
  app.get("/v1/erasures", async (): Promise<ErasureList> => ({ erasures: await erasures.list() }));
  app.post("/v1/erasures", async ({ body }): Promise<ErasureEntry> => {
    const { id, volume, asked } = parseBody(askSchema, body);
    return erasures.ask(assertMinionId(id), volume, asked);
  });
  app.post("/v1/erasures/approve", async ({ body }): Promise<ErasureEntry> => {
    const { statement, signature } = parseBody(approveSchema, body);
    return erasures.approve(statement, signature);
  });
  app.post("/v1/erasures/execute", async ({ body }): Promise<ErasureEntry> => {
    const { id, volume, typed, hostGone } = parseBody(executeSchema, body);
    return erasures.execute(assertMinionId(id), volume, { typed, hostGone });
  });
}
