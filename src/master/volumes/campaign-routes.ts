import type { FastifyInstance } from "fastify";
import { z } from "../../core/schema.ts";
import type { CampaignEntry, CampaignList } from "../../core/volume-api.ts";
import { VOLUME_NAME } from "../../states/volume/spec.ts";
import { parseBody } from "../api/answer.ts";
import type { Campaigns } from "./campaigns.ts";

const DAY_MS = 86_400_000;

const requestSchema = z.strictObject({
  target: z.strictObject({ kind: z.enum(["glob", "list", "grain"]), expr: z.string().min(1).max(1_000_000) }),
  volumes: z.array(z.string().regex(VOLUME_NAME)).max(200),
  batch: z.string().max(10),
  maxFailures: z.number().int().min(1).max(1_000_000),
  deadlineMs: z
    .number()
    .int()
    .min(1000)
    .max(90 * DAY_MS),
  keepOld: z.boolean(),
});

/** Adds the routes over campaigns. Their types are in core/volume-api.ts. */
export function addCampaignRoutes(app: FastifyInstance, campaigns: Pick<Campaigns, "list" | "start" | "stop">): void {
  app.get("/v1/campaigns", (): CampaignList => ({ campaigns: campaigns.list() }));
  app.post("/v1/campaigns", async ({ body }): Promise<CampaignEntry> =>
    campaigns.start(parseBody(requestSchema, body)),
  );
  app.post("/v1/campaigns/stop", async (): Promise<CampaignEntry> => campaigns.stop());
}
